//! Which connections CLIENT LIST and CLIENT KILL mean.
//!
//! Invariant: a filter is whole and sound once it is made; matching needs no more than what a worker knows of a
//! connection. It closes nothing.

use std::net::SocketAddr;

use crate::operation;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::{CommandError, Context, Question};

/// What a connection must be.
#[derive(Clone, Default, Debug)]
pub(crate) struct ClientFilter {
    /// One of these; none: any.
    ids: Vec<u64>,
    address: Option<Vec<u8>>,
    local_address: Option<Vec<u8>>,
    /// Any but this.
    except: Option<u64>,
    /// Nothing: of a kind or a user that no connection has.
    nobody: bool,
}

impl ClientFilter {
    pub(crate) fn matches(&self, id: u64, peer: Option<SocketAddr>, local: SocketAddr) -> bool {
        let is = |wanted: &Option<Vec<u8>>, address: Option<SocketAddr>| {
            wanted.as_ref().is_none_or(|wanted| {
                address.is_some_and(|address| address.to_string().as_bytes() == wanted.as_slice())
            })
        };
        !self.nobody
            && (self.ids.is_empty() || self.ids.contains(&id))
            && self.except != Some(id)
            && is(&self.address, peer)
            && is(&self.local_address, Some(local))
    }

    /// The filter of CLIENT LIST.
    pub(super) fn of_list(arguments: &Arguments<'_>) -> Result<Self, CommandError> {
        let mut filter = Self::default();
        match (arguments.get(2).map(<[u8]>::to_ascii_uppercase).as_deref(), arguments.get(3)) {
            (None, _) => {}
            (Some(b"TYPE"), Some(kind)) if arguments.len() == 4 => filter.nobody = !is_normal(kind)?,
            (Some(b"ID"), Some(_)) => {
                for id in arguments.iter_from(3, 1) {
                    filter
                        .ids
                        .push(id_of(id).ok_or_else(|| CommandError::Other("ERR Invalid client ID".into()))?);
                }
            }
            _ => return Err(CommandError::Syntax),
        }
        Ok(filter)
    }

    /// The question that CLIENT KILL asks.
    pub(super) fn of_kill(
        context: &Context<'_>,
        arguments: &Arguments<'_>,
    ) -> Result<Question, CommandError> {
        let mut filter = Self::default();
        if arguments.len() == 3 {
            filter.address = Some(arguments[2].to_vec());
            return Ok(Question::Kill { filter, counted: false });
        }
        if arguments.len() < 3 {
            return Err(CommandError::subcommand_arity("client", &arguments[1]));
        }
        let mut spare_self = true;
        let mut index = 2;
        while let Some(option) = arguments.get(index) {
            let value = arguments.get(index + 1).ok_or(CommandError::Syntax)?;
            match option.to_ascii_uppercase().as_slice() {
                b"ID" => {
                    let text = "ERR client-id should be greater than 0";
                    let id = id_of(value).filter(|&id| id > 0);
                    filter.ids.push(id.ok_or_else(|| CommandError::Other(text.into()))?);
                }
                b"ADDR" => filter.address = Some(value.to_vec()),
                b"LADDR" => filter.local_address = Some(value.to_vec()),
                b"TYPE" => filter.nobody |= !is_normal(value)?,
                b"USER" if value == b"default" => {}
                b"USER" => return Err(CommandError::quoting("ERR No such user '", value, "'")),
                b"SKIPME" if value.eq_ignore_ascii_case(b"yes") => spare_self = true,
                b"SKIPME" if value.eq_ignore_ascii_case(b"no") => spare_self = false,
                _ => return Err(CommandError::Syntax),
            }
            index += 2;
        }
        filter.except = spare_self.then_some(context.session.id);
        Ok(Question::Kill { filter, counted: true })
    }
}

fn id_of(text: &[u8]) -> Option<u64> {
    operation::parse_integer(text).and_then(|id| u64::try_from(id).ok())
}

/// Whether this is the kind that all connections are.
fn is_normal(kind: &[u8]) -> Result<bool, CommandError> {
    match kind.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(true),
        b"master" | b"replica" | b"slave" | b"pubsub" => Ok(false),
        _ => Err(CommandError::quoting("ERR Unknown client type '", kind, "'")),
    }
}
