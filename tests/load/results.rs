//! What is left of a run: comparisons, pages, logs.

use std::process::Command;

use crate::processes::{Floor, complaint, load, report};

#[test]
fn results_are_compared_and_drawn() {
    let floor = Floor::start();
    let folder = std::env::temp_dir().join(format!("annulus-compare-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    for (name, label, connections) in [("a1", "a", "2"), ("a2", "a", "2"), ("b1", "b", "2"), ("c1", "c", "3")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_annulus-load"))
            .args([
                "--target",
                &floor.address,
                "--label",
                label,
                "--connections",
                connections,
                "--requests",
                "2000",
            ])
            .args(["--keys", "100", "--json", &path(name)])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let compare = |arguments: &[String]| {
        Command::new(env!("CARGO_BIN_EXE_annulus-load")).arg("compare").args(arguments).output().unwrap()
    };
    let html = path("page.html");
    let output = compare(&[path("a1"), path("a2"), path("b1"), "--html".into(), html.clone()]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("spread unknown: repeat each"));
    assert!(std::fs::read_to_string(&html).unwrap().contains("<svg"));
    let other = complaint(&compare(&[path("a1"), path("c1")]));
    assert!(other.contains("number of connections") && other.contains("--force"), "{other}");
    std::fs::write(path("broken"), "{\"load\": ").unwrap();
    assert!(complaint(&compare(&[path("broken")])).contains("is no result"));
    assert!(complaint(&compare(&[path("missing")])).contains("cannot read"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_log_has_the_latencies_of_every_interval_by_operation() {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use hdrhistogram::{Histogram, serialization::Deserializer};
    let floor = Floor::start();
    let path = std::env::temp_dir().join(format!("annulus-load-log-{}", std::process::id()));
    let output = load(
        &floor.address,
        &["--duration", "500ms", "--keys", "100", "--hdr-log", path.to_str().unwrap(), "--interval", "50ms"],
    );
    assert!(output.status.success(), "{output:?}");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let (mut counts, mut intervals) = ([0, 0], 0);
    for entry in IntervalLogIterator::new(&bytes) {
        let LogEntry::Interval(interval) = entry.expect("the log can be read") else { continue };
        let histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut &base64_decoded(interval.encoded_histogram())[..]).unwrap();
        let place =
            ["get", "set"].iter().position(|name| Some(*name) == interval.tag().map(|tag| tag.as_str()));
        counts[place.expect("a tag names the operation")] += histogram.len();
        intervals += 1;
    }
    // Twenty, if the machine lets every interval end in time.
    assert!(intervals >= 10, "{intervals}");
    let measured = &report(&output)["measured"];
    let [gets, sets] = [0, 1].map(|place| measured["by_operation"][place]["operations"].as_u64().unwrap());
    assert_eq!(counts, [gets, sets]);
    let slices = measured["series"].as_array().unwrap().len();
    assert!((5..=10).contains(&slices), "{slices}");
}

/// What base64 stands for; the log's own crate gives no decoder.
fn base64_decoded(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_usize, 0);
    for digit in digits {
        (held, bits) = (held << 6 | digit, bits + 6);
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    bytes
}

#[test]
fn what_cannot_be_written_keeps_nothing_else_from_being_printed() {
    let floor = Floor::start();
    let common = ["--target", &floor.address, "--requests", "100", "--keys", "10"];
    for option in ["--html", "--json", "--hdr-log"] {
        let output = Command::new(env!("CARGO_BIN_EXE_annulus-load"))
            .args(common)
            .args([option, "/nonexistent/file"])
            .output()
            .unwrap();
        assert!(complaint(&output).contains("cannot write /nonexistent/file"), "{output:?}");
        assert_eq!(output.status.code(), Some(1));
        let table = String::from_utf8_lossy(&output.stdout);
        // A log that cannot be begun is found out before anything is measured.
        assert_eq!(table.contains("operations/s"), option != "--hdr-log", "{table}");
    }
}
