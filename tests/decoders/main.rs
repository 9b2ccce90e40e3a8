//! Every decoder of bytes from outside, against the inputs that fuzzing kept, and against those changed at random.
//!
//! The corpus of each is in `fuzz/corpus`; `CONTRIBUTING.md` says how to fuzz. Random inputs are drawn from a seed that
//! is printed; `CORPUS_SEED` repeats it.

mod beginnings;
mod properties;

use std::path::PathBuf;

use properties::PROPERTIES;

/// Random changes that each decoder is tried with.
const CHANGED: usize = 30_000;

/// Bytes of an input at most.
const BYTES_MAX: usize = 4096;

fn corpus_of(name: &str) -> Vec<Vec<u8>> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", name].iter().collect();
    let listed = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("it can be read")).collect()
}

#[test]
fn what_fuzzing_kept_is_digested() {
    for (name, check) in PROPERTIES {
        let corpus = corpus_of(name);
        assert!(!corpus.is_empty(), "{name}: the corpus is missing");
        for input in &corpus {
            check(input);
        }
        println!("{name}: {} inputs", corpus.len());
    }
}

#[test]
fn what_is_nearly_that_is_digested_too() {
    let seed = std::env::var("CORPUS_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("CORPUS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for (name, check) in PROPERTIES {
        let corpus = corpus_of(name);
        for _ in 0..CHANGED {
            let mut input = corpus[random.usize(..corpus.len())].clone();
            let other = &corpus[random.usize(..corpus.len())];
            for _ in 0..random.usize(1..6) {
                change(&mut random, &mut input, other);
            }
            input.truncate(BYTES_MAX);
            check(&input);
        }
    }
}

/// Changes an input a little.
fn change(random: &mut fastrand::Rng, input: &mut Vec<u8>, other: &[u8]) {
    let at = random.usize(..=input.len());
    match random.u8(..6) {
        0 => input.truncate(at),
        1 => input.insert(at, random.u8(..)),
        2 => input.extend_from_slice(&other[random.usize(..=other.len())..]),
        3 => {
            let bytes = input[..at].to_vec();
            input.extend_from_slice(&bytes);
        }
        4 if at < input.len() => input[at] = [0, 1, 0x7F, 0x80, 0xFF][random.usize(..5)],
        _ if at < input.len() => input[at] = random.u8(..),
        _ => {}
    }
}

/// The inputs that fuzzing begins with: one of each kind, and some that are nearly one. They are written where fuzzing
/// looks for them when `CORPUS_BEGIN` is set.
#[test]
fn a_corpus_begins_with_one_of_each_kind() {
    let begun = beginnings::inputs();
    for (name, inputs) in &begun {
        let (_, check) = PROPERTIES.iter().find(|(other, _)| other == name).expect("it has a property");
        inputs.iter().for_each(|input| check(input));
    }
    assert_eq!(begun.len(), PROPERTIES.len());
    if std::env::var_os("CORPUS_BEGIN").is_some() {
        for (name, inputs) in begun {
            let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", name].iter().collect();
            std::fs::create_dir_all(&folder).expect("it can be made");
            for (number, input) in inputs.iter().enumerate() {
                std::fs::write(folder.join(format!("begin-{number:02}")), input).expect("it can be written");
            }
        }
    }
}
