//! Benchmarks whose files are not what they should be: an error with its place, and no panic.

use std::path::Path;

use aki_data::benchmark::{Benchmark, PromptStyle, Questions};
use proptest::prelude::*;

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/benchmarks");
    std::fs::read(folder.join(name)).expect("a fixture")
}

/// Opens a benchmark whose one file has these bytes, and reads all of its pictures.
fn read(benchmark: Benchmark, bytes: &[u8]) -> Result<Questions, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let files = benchmark.files();
    let file = files[files.len() - 1][0];
    std::fs::write(folder.path().join(file), bytes).expect("writing");
    let questions = Questions::open(benchmark, folder.path(), PromptStyle::Aki);
    let all = questions.and_then(|questions| {
        for index in 0..questions.len() {
            let pictures = questions.pictures(index)?;
            assert_eq!(pictures.len(), questions.get(index).pictures);
        }
        Ok(questions)
    });
    let shown = folder.path().display().to_string();
    all.map_err(|error| error.to_string().replace(&shown, "DATA"))
}

fn error(benchmark: Benchmark, content: &str) -> String {
    read(benchmark, content.as_bytes()).expect_err("an error")
}

/// Base64 that is above 64 characters.
fn picture() -> String {
    "abcd".repeat(20)
}

#[test]
fn a_folder_without_the_files_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |benchmark| {
        let error = Questions::open(benchmark, folder.path(), PromptStyle::Aki);
        error
            .expect_err("an error")
            .to_string()
            .replace(&folder.path().display().to_string(), "DATA")
    };
    assert_eq!(
        open(Benchmark::Mme),
        "cannot use the benchmark DATA: MME: the folder has no MME.tsv; download it from the \
         addresses in VLMEvalKit, or name another folder"
    );
    assert_eq!(
        open(Benchmark::CvBench),
        "cannot use the benchmark DATA: CV-Bench: the folder has no test_2d.parquet and \
         test_3d.parquet, and no test.parquet; download it from nyu-visionx/CV-Bench on the Hugging \
         Face hub, or name another folder"
    );
}

#[test]
fn wrong_fields_are_named() {
    let picture = picture();
    let pope = |rows: &str| {
        error(
            Benchmark::Pope,
            &format!("index\timage\tquestion\tanswer\tcategory\n{rows}"),
        )
    };
    for (row, expected) in [
        (
            format!("0\t{picture}\tIs it?\tmaybe\ta\n"),
            "row 1 (line 2), column answer: \"maybe\" is neither Yes nor No",
        ),
        (
            format!("0\t{picture}\t\tYes\ta\n"),
            "row 1 (line 2), column question: empty; is the file whole? Download it again",
        ),
        (
            format!("0\t{picture}\t\"a\nb\"\tYes\ta\n0\t{picture}\tc\tYes\ta\n"),
            "row 2, column index: \"0\" is the index of row 1 too",
        ),
        (
            "0\t17\ta\tYes\ta\n".to_owned(),
            "row 1, column image: \"17\" is no picture and no row's index; download the file again",
        ),
        (
            "0\t1\ta\tYes\ta\n1\t0\ta\tYes\ta\n".to_owned(),
            "row 1, column image: its picture is another row's, and that one's its own",
        ),
        (
            format!("0\t{picture}?{picture}\ta\tYes\ta\n"),
            "row 1, column image: a picture's base64 is damaged (Invalid symbol 63, offset \
             80.); download the file again",
        ),
        (
            format!("0\t{picture}\ta\tYes\ta\n1\t{picture}\ta\n"),
            "row 2 (line 3): 3 fields for 5 columns; is the file whole? Download it again",
        ),
    ] {
        let shown = format!("cannot use the benchmark DATA/POPE.tsv: {expected}");
        assert_eq!(pope(&row), shown);
    }
    let mmbench = error(
        Benchmark::MmBench,
        &format!("index\timage\tquestion\tanswer\tA\tB\nx\t{picture}\ta\tA\tb\tc\n"),
    );
    assert!(
        mmbench.ends_with("row 1, column index: \"x\" is no number"),
        "{mmbench}"
    );
    let none = error(
        Benchmark::Pope,
        "index\tquestion\tanswer\tcategory\n0\ta\tYes\ta\n",
    );
    assert!(
        none.ends_with("neither a column image nor a column image_path"),
        "{none}"
    );
    let none = error(
        Benchmark::Pope,
        "index\timage\tquestion\tanswer\tcategory\n0\t\ta\tYes\ta\n",
    );
    assert!(none.ends_with("no row of POPE.tsv can be asked"), "{none}");
}

#[test]
fn rows_without_a_picture_are_told() {
    let content = format!(
        "index\timage\tquestion\tanswer\tcategory\n0\t\ta\tYes\ta\n1\t0\tb\tYes\ta\n2\t{}\tc\tNo\ta\n",
        picture()
    );
    let questions = read(Benchmark::Pope, content.as_bytes()).expect("questions");
    assert_eq!(questions.len(), 1);
    assert_eq!(questions.get(0).id, "2");
    assert_eq!(
        questions.notes(),
        ["2 of 3 rows have no picture and are left out, as the kit does"]
    );
}

#[test]
fn picture_paths_stay_within_the_folder() {
    for (path, expected) in [
        (
            "/etc/passwd",
            "\"/etc/passwd\" leads out of the data folder; make it a path within",
        ),
        (
            "a/../../b",
            "\"a/../../b\" leads out of the data folder; make it a path within",
        ),
        (
            "a.jpg",
            "there is no DATA/a.jpg and no DATA/images/POPE/a.jpg",
        ),
    ] {
        let content =
            format!("index\timage_path\tquestion\tanswer\tcategory\n7\t{path}\ta\tYes\ta\n");
        assert_eq!(
            error(Benchmark::Pope, &content),
            format!(
                "cannot use the benchmark DATA/POPE.tsv: index 7, column image_path: {expected}"
            )
        );
    }
}

#[test]
fn parquet_that_is_cut_off_or_another_is_said() {
    let whole = fixture("one/test.parquet");
    assert!(read(Benchmark::CvBench, &whole).is_ok());
    let cut = read(Benchmark::CvBench, &whole[..whole.len() / 2]).expect_err("an error");
    assert!(
        cut.starts_with("cannot use the benchmark DATA/test.parquet: its metadata: "),
        "{cut}"
    );
    assert!(
        cut.ends_with("; is it CV-Bench's file, and whole? Download it again"),
        "{cut}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_change_of_bytes_makes_reading_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(), whole: bool,
        set in prop::sample::select(vec![
            (Benchmark::MmBench, "MMBench_DEV_EN.tsv"), (Benchmark::Mmmu, "MMMU_DEV_VAL.tsv"),
            (Benchmark::MathVista, "MathVista_MINI.tsv"), (Benchmark::CvBench, "one/test.parquet"),
            (Benchmark::CvBench, "test_2d.parquet"),
        ]),
    ) {
        let mut bytes = fixture(set.1);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = read(set.0, &bytes);
    }
}
