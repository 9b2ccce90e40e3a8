//! Many requests at once: a pipeline (a frame each, each on its own) and a batch (one frame, one answer).
//!
//! Invariant: outcomes are in the order of the requests, whatever order the node answered in; a request whose
//! answer is missing has an unknown outcome, never none. Neither is a transaction.

use super::connection::{Places, place_items};
use super::{Client, Error, refusal_or_reply};
use crate::message::{Envelope, Outcome, Reply, Request, RequestId};
use crate::protocol::client::{RequestBatchWriter, decode_response, encode_request};
use crate::protocol::frame::{Split, split_frame};
use crate::protocol::{Field, Limits};

/// Requests that will be sent together, answered one by one.
#[derive(Debug)]
pub struct Pipeline<'c> {
    client: &'c mut Client,
    sent: Vec<u8>,
    first_id: RequestId,
    count: u32,
}

impl<'c> Pipeline<'c> {
    pub(super) const fn new(client: &'c mut Client) -> Self {
        let first_id = RequestId(client.next_id);
        Self { client, sent: Vec::new(), first_id, count: 0 }
    }

    /// Queues a request at the client's level.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`]; the request is not queued.
    pub fn push(&mut self, request: Request<'_>) -> Result<&mut Self, Error> {
        self.client.check_size(&request)?;
        let id = RequestId(self.first_id.0.wrapping_add(self.count));
        encode_request(&Envelope { id, level: self.client.level, request }, &mut self.sent);
        self.count += 1;
        Ok(self)
    }

    /// Sends what was queued, reading answers meanwhile, however many there are.
    ///
    /// # Errors
    ///
    /// Only if nothing was sent. What goes wrong later is the [interruption](Answers::interruption) of the
    /// answers.
    pub fn run(self) -> Result<Answers, Error> {
        let Self { client, sent, first_id, count } = self;
        client.next_id = first_id.0.wrapping_add(count);
        let mut received = Vec::new();
        let mut places = Places::awaiting(first_id, count);
        let connection = client.connection.as_mut().ok_or(Error::NotConnected)?;
        let interruption = connection.exchange_many(&sent, &mut received, &mut places).err();
        match interruption {
            Some(error @ Error::Thread { .. }) => return Err(error),
            Some(_) => client.connection = None,
            None => {}
        }
        Ok(Answers { received, places, limits: client.options.limits, interruption })
    }
}

/// Requests that will be sent as one frame, and answered by one.
#[derive(Debug)]
pub struct Batch<'c> {
    client: &'c mut Client,
    sent: Vec<u8>,
    id: RequestId,
    writer: RequestBatchWriter,
}

impl<'c> Batch<'c> {
    pub(super) fn new(client: &'c mut Client) -> Self {
        let mut sent = Vec::new();
        let id = client.next_id();
        let writer = RequestBatchWriter::begin(id, client.level, &mut sent);
        Self { client, sent, id, writer }
    }

    /// Queues a request.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the request, or the batch with it, is; the request is not queued.
    pub fn push(&mut self, request: Request<'_>) -> Result<&mut Self, Error> {
        self.client.check_size(&request)?;
        let limits = self.client.options.limits;
        if self.writer.count() >= limits.batch_count_max {
            return Err(Error::TooLarge { field: Field::BatchCount });
        }
        let before = self.sent.len();
        let envelope = Envelope { id: RequestId(self.writer.count()), level: None, request };
        let writer = self.writer.clone();
        self.writer.push(&envelope, &mut self.sent);
        if self.writer.frame_bytes(&self.sent) > limits.frame_bytes_max as usize {
            self.sent.truncate(before);
            self.writer = writer;
            return Err(Error::TooLarge { field: Field::FrameLength });
        }
        Ok(self)
    }

    /// Sends the batch and waits for its answer.
    ///
    /// # Errors
    ///
    /// The batch as a whole has no answer; see [`Error::may_have_applied`]. What is refused of it is among
    /// the answers.
    pub fn run(mut self) -> Result<Answers, Error> {
        let limits = self.client.options.limits;
        let count = self.writer.count();
        self.writer.finish(&mut self.sent);
        let mut received = Vec::new();
        let mut place = Places::awaiting(self.id, 1);
        self.client.connected(|connection| connection.exchange(&self.sent, &mut received, &mut place))?;
        let items_bytes = match refusal_or_reply(outcome_at(&received, &limits))? {
            Reply::Batch(outcomes) if outcomes.count() == count => Some(outcomes.frames.len()),
            _ => None,
        };
        let mut places = Places::awaiting(RequestId(0), count);
        self.client.connected(|_| {
            let at = received.len() - items_bytes.ok_or(Error::UnexpectedAnswer)?;
            place_items(&received, at, &limits, &mut places)
        })?;
        Ok(Answers { received, places, limits, interruption: None })
    }
}

/// The outcomes of a pipeline or a batch, in the order of the requests.
#[derive(Debug)]
pub struct Answers {
    received: Vec<u8>,
    places: Places,
    limits: Limits,
    interruption: Option<Error>,
}

impl Answers {
    /// How many requests there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.places.len()
    }

    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.places.is_empty()
    }

    /// What ended the connection before all answers were there, if anything did.
    #[must_use]
    pub const fn interruption(&self) -> Option<&Error> {
        self.interruption.as_ref()
    }

    /// The outcome of the request with this index; `None` beyond the last.
    #[must_use]
    pub fn outcome(&self, index: usize) -> Option<Outcome<'_>> {
        let place = self.places.places.get(index)?;
        Some(match place {
            Some(place) => outcome_at(&self.received[place.clone()], &self.limits),
            None => Outcome::Unknown { message: "the connection ended before the answer" },
        })
    }

    /// All outcomes.
    pub fn iter(&self) -> impl Iterator<Item = Outcome<'_>> {
        (0..self.len()).filter_map(|index| self.outcome(index))
    }
}

/// The outcome in a frame that was decoded when it was received.
pub(super) fn outcome_at<'a>(frame: &'a [u8], limits: &Limits) -> Outcome<'a> {
    let Ok(Split::Frame(frame)) = split_frame(frame, limits) else {
        unreachable!("a received frame is whole");
    };
    let (_, outcome) = decode_response(frame).expect("decoded once already");
    outcome
}
