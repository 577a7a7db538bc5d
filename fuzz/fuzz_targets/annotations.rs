//! Files of annotations, each read as every kind of source.
#![no_main]

use std::path::Path;

use aki_data::{Dataset, Role};
use libfuzzer_sys::fuzz_target;

/// The other file of a source with two.
fn other(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../aki-data/tests/fixtures/datasets")
        .join(name)
}

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("writing");
    let file = file.path();
    for dataset in [
        Dataset::jsonl(file),
        Dataset::vsr(file),
        Dataset::vqa(file, &other("vqa_annotations.json")),
        Dataset::vqa(&other("vqa_questions.json"), file),
        Dataset::gqa(file),
        Dataset::ocrvqa(file),
        Dataset::aokvqa(file),
        Dataset::scienceqa(file),
        Dataset::refcoco(file),
        Dataset::vg(file, &other("vg_image_data.json")),
        Dataset::vg(&other("vg_regions.json"), file),
        Dataset::llava150k(file),
    ]
    .into_iter()
    .flatten()
    {
        for index in 0..dataset.len() {
            let record = dataset.get_shuffled(index, 0, index);
            let shown: usize = record.messages.iter().map(|it| it.pictures).sum();
            assert_eq!(shown, record.images.len());
            assert!(record.messages.iter().any(|it| it.role == Role::Assistant));
            let outside = |path: &String| path.split('/').any(|part| part == "..");
            assert!(!record.images.iter().any(outside));
        }
    }
});
