//! Python literals, as BLIP3-Grounding has them.
#![no_main]

use aki_data::pretraining::literal::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = parse(text) {
        assert!(error.at <= text.len());
    }
});
