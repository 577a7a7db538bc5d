//! What a row of the kit's tables asks, and what is right.

use super::prompt;
use super::question::{Expected, Question};
use super::read;
use super::set::Benchmark;
use super::tsv::Row;
use crate::DataError;
use crate::pretraining::literal::{self, Literal};

/// Columns without which a table is not this benchmark's, beside `image` or `image_path`.
pub(super) fn needed(benchmark: Benchmark) -> &'static [&'static str] {
    match benchmark {
        Benchmark::Mme | Benchmark::Pope | Benchmark::MmVet => {
            &["index", "question", "answer", "category"]
        }
        Benchmark::LlavaW => &["index", "question", "category", "caption", "gpt4_ans"],
        Benchmark::Mmmu => &["index", "question", "answer", "A", "B", "split"],
        Benchmark::MathVista => &[
            "index",
            "question",
            "answer",
            "question_type",
            "answer_type",
            "choices",
            "answer_option",
        ],
        _ => &["index", "question", "answer", "A", "B"],
    }
}

/// The question of a row, but for what depends on its pictures and on other rows.
pub(super) fn question(benchmark: Benchmark, row: &Row<'_>) -> Result<Question, DataError> {
    let text = row.text("question")?;
    let (text, expected) = match benchmark {
        Benchmark::Mme | Benchmark::Pope => (text.to_owned(), Expected::Yes(yes(row)?)),
        Benchmark::MathVista => (text.to_owned(), math(row)?),
        Benchmark::MmVet => {
            let answer = row.text("answer")?.to_owned();
            (text.to_owned(), Expected::Graded(answer))
        }
        Benchmark::LlavaW => {
            let caption = row.text("caption")?.to_owned();
            let answer = row.text("gpt4_ans")?.to_owned();
            (text.to_owned(), Expected::Compared { caption, answer })
        }
        _ => {
            let options = options(row)?;
            let text = prompt::multiple_choice(row.maybe("hint")?, text, &options);
            (text, choice(row, options)?)
        }
    };
    Ok(Question {
        id: row.text("index")?.to_owned(),
        text,
        path: row.maybe("image_path")?.unwrap_or_default().to_owned(),
        parts: parts(benchmark, row)?,
        expected,
        ..Question::default()
    })
}

fn yes(row: &Row<'_>) -> Result<bool, DataError> {
    let answer = row.text("answer")?;
    read::yes_or_no(answer)
        .ok_or_else(|| row.fault("answer", format!("{answer:?} is neither Yes nor No")))
}

fn options(row: &Row<'_>) -> Result<Vec<(char, String)>, DataError> {
    let mut options = Vec::new();
    for letter in 'A'..='Z' {
        if let Some(text) = row.maybe(letter.encode_utf8(&mut [0; 4]))? {
            options.push((letter, text.to_owned()));
        }
    }
    Ok(options)
}

/// Which of the options is right. A question without options is marked as if it had two.
fn choice(row: &Row<'_>, mut options: Vec<(char, String)>) -> Result<Expected, DataError> {
    let answer = row.text("answer")?;
    let letter = if options.is_empty() {
        options.push(('A', answer.to_owned()));
        options.push(('B', "Other Answers".to_owned()));
        'A'
    } else {
        letter(row, "answer")?
    };
    Ok(Expected::Option {
        letter,
        options,
        alone: false,
        judged: false,
    })
}

/// A letter, which need not be among the options: some rows of the published files lack theirs.
fn letter(row: &Row<'_>, column: &str) -> Result<char, DataError> {
    let text = row.text(column)?;
    match text.trim().as_bytes() {
        [letter @ b'A'..=b'Z'] => Ok(char::from(*letter)),
        _ => Err(row.fault(column, format!("{text:?} is no option's letter"))),
    }
}

fn math(row: &Row<'_>) -> Result<Expected, DataError> {
    if row.text("question_type")? == "multi_choice" {
        let choices = row.text("choices")?;
        let choices =
            list(choices).ok_or_else(|| row.fault("choices", format!("{choices:?} is no list")))?;
        return Ok(Expected::Option {
            letter: letter(row, "answer_option")?,
            options: ('A'..='Z').zip(choices).collect(),
            alone: false,
            judged: true,
        });
    }
    let answer = row.text("answer")?;
    match row.text("answer_type")? {
        "integer" | "float" => read::number(answer)
            .map(Expected::Number)
            .ok_or_else(|| row.fault("answer", format!("{answer:?} is no number"))),
        _ => Ok(Expected::Text(answer.to_owned())),
    }
}

/// The texts of a list, in the form that Python or JSON has for it.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    let items = literal::parse(text).ok()?;
    let text = |item: &Literal| match item {
        Literal::Text(text) => Some(text.clone()),
        Literal::Number(number) => Some(number.to_string()),
        _ => None,
    };
    items.items()?.iter().map(text).collect()
}

/// The parts of the benchmark that a row belongs to.
fn parts(benchmark: Benchmark, row: &Row<'_>) -> Result<Vec<String>, DataError> {
    let field = |column| Ok::<_, DataError>(row.maybe(column)?.map(str::to_owned));
    let mut parts: Vec<String> = match benchmark {
        Benchmark::Mme => vec![row.text("category")?.to_owned()],
        Benchmark::Pope | Benchmark::MmVet => {
            let all = row.maybe("category")?.unwrap_or_default().split(',');
            let all = all.map(str::trim).filter(|part| !part.is_empty());
            all.map(str::to_owned).collect()
        }
        Benchmark::MathVista => {
            let skills = field("skills")?;
            let skills = skills.map(|text| list(&text).unwrap_or(vec![text]));
            field("task")?
                .into_iter()
                .chain(skills.into_iter().flatten())
                .collect()
        }
        Benchmark::Mmmu => {
            let split = row.text("split")?;
            let of_split =
                |column| Ok::<_, DataError>(field(column)?.map(|it| format!("{split}, {it}")));
            let parts = [of_split("l2-category")?, of_split("category")?];
            [split.to_owned()]
                .into_iter()
                .chain(parts.into_iter().flatten())
                .collect()
        }
        _ => [field("l2-category")?, field("category")?]
            .into_iter()
            .flatten()
            .collect(),
    };
    if benchmark != Benchmark::Pope {
        // A level may be called as the one above.
        let all = std::mem::take(&mut parts);
        parts.extend(all.into_iter().fold(Vec::new(), |mut seen, part| {
            if !seen.contains(&part) {
                seen.push(part);
            }
            seen
        }));
    }
    Ok(parts)
}
