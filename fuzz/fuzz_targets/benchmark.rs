//! Files of benchmarks: parquet as CV-Bench's, anything else as each of the kit's tables.
#![no_main]

use aki_data::benchmark::{Benchmark, PromptStyle, Questions};
use libfuzzer_sys::fuzz_target;

/// Pictures that are looked at; a reference may have any row show the same large one.
const PICTURES: usize = 64;

fuzz_target!(
    // Panics of the crate that reads parquet are caught; libFuzzer's hook would end the process
    // before. Any other still ends it.
    init: std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))),
    |bytes: &[u8]| read(bytes)
);

fn read(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let is_parquet = bytes.starts_with(b"PAR1");
    for benchmark in Benchmark::ALL {
        if is_parquet != (benchmark == Benchmark::CvBench) {
            continue;
        }
        let files = benchmark.files();
        let file = folder.path().join(files[files.len() - 1][0]);
        std::fs::write(file, bytes).expect("writing");
        for style in [PromptStyle::Aki, PromptStyle::VlmEvalKit] {
            let Ok(questions) = Questions::open(benchmark, folder.path(), style) else {
                continue;
            };
            for (index, question) in questions.iter().enumerate() {
                assert!(question.text.is_char_boundary(question.at));
                assert!(question.cluster < questions.len() && question.group < questions.len());
                question.mark(&question.text);
                if index < PICTURES
                    && let Ok(pictures) = questions.pictures(index)
                {
                    assert_eq!(pictures.len(), question.pictures);
                }
            }
        }
    }
}
