//! A tour of the blocking client, against a node on 127.0.0.1:7400 or at the address given.
//!
//! `cargo run --example client [address]`

use annulus::client::{Client, Conditional, Error, Operations};
use annulus::message::{ExpiryChange, Request};
use annulus::types::Level;

fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7400".to_owned());
    let mut client = Client::connect(&address)?.with_level(Level::Quorum);
    client.ping()?;

    client.put(b"example:greeting", b"hello")?;
    if let Some(entry) = client.get(b"example:greeting")? {
        println!("{} in {:?}", String::from_utf8_lossy(&entry.value), entry.version);
        match client.compare_and_set(b"example:greeting", entry.version, b"good morning")? {
            Conditional::Written(version) => println!("replaced, now {version:?}"),
            Conditional::NotWritten { current } => println!("someone was faster: {current:?}"),
        }
    }
    client.expire(b"example:greeting", ExpiryChange::AfterMs(60_000))?;

    let mut pipeline = client.pipeline();
    for _ in 0..1000 {
        pipeline.push(Request::Increment { key: b"example:counter", delta: 1 })?;
    }
    let answers = pipeline.run()?;
    println!("{} increments; the last: {:?}", answers.len(), answers.iter().last());

    let mut batch = client.batch();
    batch.push(Request::Get { key: b"example:counter" })?;
    batch.push(Request::Get { key: b"example:absent" })?;
    for outcome in batch.run()?.iter() {
        println!("{outcome:?}");
    }

    match client.increment(b"example:greeting", 1) {
        Err(Error::Refused { reason, message }) => println!("refused, nothing changed: {reason:?} {message}"),
        Err(error) if error.may_have_applied() => println!("outcome unknown: {error}"),
        other => println!("{other:?}"),
    }

    println!("{} keys", client.scan().collect::<Result<Vec<_>, _>>()?.len());
    for operation in client.stats()?.operations {
        println!("{}: {} done, p99 {} ns", operation.name, operation.count, operation.p99_ns);
    }
    Ok(())
}
