//! Fuzzes the property `metadata`.
#![no_main]

#[path = "../../tests/decoders/properties.rs"]
#[allow(dead_code)]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::metadata(bytes));
