//! What an operator tells a cluster to do.
//!
//! Invariant: one request, one answer, bounded in time; what the node refuses is told in its words. It is sent as RESP,
//! as any client of Redis could.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::super::options::read_password;
use super::super::output::print;
use super::{Failure, Target};

const SETTINGS: [&str; 3] = ["replication-factor", "drift-max-ms", "operation-timeout-ms"];

pub(super) fn setting(target: &Target, setting: &str, value: &str) -> Result<ExitCode, Failure> {
    if !SETTINGS.contains(&setting) {
        return Err(Failure::Usage(format!(
            "there is no setting {setting}: it is one of {}",
            SETTINGS.join(", ")
        )));
    }
    let name = format!("cluster-{setting}");
    ask(target, &[b"CONFIG", b"SET", name.as_bytes(), value.as_bytes()])?;
    let words = || format!("{setting} is to be {value}: all nodes are being told");
    print(target.json, &json!({ "setting": setting, "value": value }), words)
}

pub(super) fn accept_loss(target: &Target) -> Result<ExitCode, Failure> {
    ask(target, &[b"CLUSTER", b"RECOVER", b"ACCEPT-LOSS"])?;
    print(target.json, &json!({ "accepted": true }), || {
        "what only dead nodes have is given up: see losses and states in `annulus cluster status`".into()
    })
}

/// Asks the first node that can be reached.
fn ask(target: &Target, request: &[&[u8]]) -> Result<(), Failure> {
    let password = target.password_file.as_deref().map(read_password).transpose();
    let password = password.map_err(|error| Failure::Usage(error.to_string()))?;
    let timeout = Duration::from_secs(target.timeout);
    let mut stream = connect(&target.target, timeout)?;
    let auth = password.as_ref().map(|password| [&b"AUTH"[..], password.bytes()]);
    for request in auth.iter().map(<[_; 2]>::as_slice).chain([request]) {
        let unknown = |error: io::Error| Failure::Unknown(format!("the node does not answer: {error}"));
        let answer = exchange(&mut stream, request).map_err(unknown)?;
        if let Some(refusal) = answer.strip_prefix('-') {
            return Err(Failure::NotDone(format!("the node refuses: {}", refusal.trim_end())));
        }
    }
    Ok(())
}

fn connect(targets: &[SocketAddr], timeout: Duration) -> Result<BufReader<TcpStream>, Failure> {
    let mut failed = String::from("no address was given");
    for target in targets {
        match TcpStream::connect_timeout(target, timeout) {
            Ok(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                return Ok(BufReader::new(stream));
            }
            Err(error) => failed = format!("{target} does not answer: {error}; is a node running there?"),
        }
    }
    Err(Failure::NotDone(failed))
}

/// Sends a request as RESP has it, and returns the first line of the answer.
fn exchange(stream: &mut BufReader<TcpStream>, request: &[&[u8]]) -> io::Result<String> {
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for word in request {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    stream.get_mut().write_all(&bytes)?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    if line.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) }
}
