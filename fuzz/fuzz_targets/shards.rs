//! A tar archive, and all kinds of samples that its members may be.
#![no_main]

use aki_data::datasets::read_conversation;
use aki_data::pretraining::{CaptionKind, Mmc4, PretrainingKind};
use aki_data::shards::{Limits, SampleReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let reader = SampleReader::new(bytes, std::path::Path::new("fuzz.tar").into(), limits);
    for raw in reader.flatten() {
        let held = raw.pictures.len();
        if let Ok((pictures, record)) = read_conversation(raw.clone(), &limits) {
            let shown: usize = record.messages.iter().map(|it| it.pictures).sum();
            assert_eq!((pictures.len(), record.images.len()), (held, held));
            assert_eq!(shown, held);
        }
        let mmc4 = Mmc4 {
            max_pictures: 4,
            min_similarity: 0.2,
        };
        for kind in [
            PretrainingKind::Caption(CaptionKind::Txt),
            PretrainingKind::Caption(CaptionKind::Blip3Ocr),
            PretrainingKind::Caption(CaptionKind::Blip3Grounding),
            PretrainingKind::Mmc4(mmc4),
        ] {
            if let Ok(sample) = kind.read(raw.clone(), &limits) {
                assert!(!sample.pictures.is_empty());
                assert!(!sample.spelled().is_empty());
            }
        }
    }
});
