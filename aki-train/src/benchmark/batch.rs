//! From a batch of questions to their answers.

use std::time::Instant;

use aki_data::benchmark::{Mark, PromptStyle, Question};
use aki_data::text::Part;
use aki_data::{DataError, Picture};
use aki_model::generate::{Answer, Ended, GenerateOptions, Prompt, Sampler, Sampling, generate};
use rayon::prelude::*;

use super::{Answered, Request};
use crate::TrainError;
use crate::answer::{NO_NUMBERS, text_of};
use crate::folder::ModelFolder;

/// Of a question, what could be made of it, or why nothing.
type Fallible<T> = Result<T, String>;

/// The answers to a batch of questions, with errors in place of those that cannot be asked.
pub fn answers(
    model: &ModelFolder,
    request: &Request,
    batch: &[usize],
) -> Result<Vec<Answered>, TrainError> {
    let begun = Instant::now();
    let questions: Vec<&Question> = batch.iter().map(|&it| request.questions.get(it)).collect();
    let stored: Vec<_> = batch
        .iter()
        .map(|&index| request.questions.pictures(index))
        .collect();
    let pictures: Vec<Result<Vec<Picture>, DataError>> = stored
        .into_par_iter()
        .zip(&questions)
        .map(|(stored, question)| -> Result<Vec<Picture>, DataError> {
            let name = format!("of question {}", question.id);
            let decode = |bytes: &Vec<u8>| model.decode(bytes, &name);
            stored?.iter().map(decode).collect()
        })
        .collect();
    let prompts = questions.iter().zip(pictures).map(|(question, pictures)| {
        let prompt = pictures
            .map_err(TrainError::from)
            .and_then(|pictures| prompt(model, request.style, question, &pictures));
        match prompt {
            Ok(prompt) => Ok(Ok(prompt)),
            Err(error) if is_of_question(&error) => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    });
    let prompts: Vec<Fallible<Prompt>> = prompts.collect::<Result<_, TrainError>>()?;
    let answers = generated(model, request.max_new_tokens, prompts);
    let seconds = begun.elapsed().as_secs_f64() / batch.len() as f64;
    let rows = questions.into_iter().zip(answers);
    let rows = rows.map(|(question, answer)| {
        let mut row = row(model, question, answer, seconds);
        row.mark_again(request.benchmark);
        row
    });
    Ok(rows.collect())
}

fn prompt(
    model: &ModelFolder,
    style: PromptStyle,
    question: &Question,
    pictures: &[Picture],
) -> Result<Prompt, TrainError> {
    let pictures: Vec<&Picture> = pictures.iter().collect();
    let prompt = if style.newline() {
        model.prompt(&question.text, &pictures)?
    } else {
        let (before, after) = question.text.split_at(question.at);
        let mut parts = vec![Part::Picture; pictures.len()];
        parts.insert(0, Part::Text(before.to_owned()));
        parts.push(Part::Text(after.to_owned()));
        model.placed(&parts, &pictures)?
    };
    // There has to be room for an answer.
    model.check_length("the prompt with an answer", prompt.input_ids.len() + 1)?;
    Ok(prompt)
}

/// Whether another question might still be asked.
fn is_of_question(error: &TrainError) -> bool {
    matches!(
        error,
        TrainError::TooLong { .. }
            | TrainError::Data(DataError::Picture { .. } | DataError::Benchmark { .. })
    )
}

/// Answers prompts together, greedily.
fn generated(
    model: &ModelFolder,
    max_new_tokens: usize,
    prompts: Vec<Fallible<Prompt>>,
) -> Vec<Fallible<Answer>> {
    let asked: Vec<Prompt> = prompts.iter().flatten().cloned().collect();
    let rooms: Vec<usize> = asked
        .iter()
        .map(|prompt| model.room(prompt.input_ids.len()).min(max_new_tokens))
        .collect();
    let options = GenerateOptions {
        stop: model.tokenizer.special().stops(),
        max_new_tokens: rooms.iter().copied().max().unwrap_or(0),
        prompt_logits: false,
    };
    let greedy = || Sampler::new(Sampling::default());
    let mut samplers: Vec<Sampler> = asked.iter().map(|_| greedy()).collect();
    let mut tokens = vec![0; asked.len()];
    let generation = generate(&model.aki, &asked, &mut samplers, &options, |prompt, _| {
        tokens[prompt] += 1;
        tokens[prompt] < rooms[prompt]
    });
    let mut answers = generation.answers.into_iter();
    let answer = |prompt: Fallible<Prompt>| {
        prompt.map(|_| answers.next().expect("one prompt has one answer"))
    };
    prompts.into_iter().map(answer).collect()
}

fn row(
    model: &ModelFolder,
    question: &Question,
    answer: Fallible<Answer>,
    seconds: f64,
) -> Answered {
    let tokens = answer.as_ref().map_or(0, |answer| answer.token_ids.len());
    let ended = answer.as_ref().map(|answer| answer.ended);
    // The caller's end is that of the room behind the prompt.
    let cut = matches!(ended, Ok(Ended::Length | Ended::Caller));
    let (answer, error) = match answer.and_then(|answer| text(model, &answer)) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(error)),
    };
    Answered {
        question: question.clone(),
        answer,
        mark: Mark::default(),
        tokens,
        cut,
        seconds,
        error,
        judgement: None,
    }
}

fn text(model: &ModelFolder, answer: &Answer) -> Fallible<String> {
    if answer.ended == Ended::NoNumbers {
        return Err(format!("{NO_NUMBERS}; try --dtype f32"));
    }
    text_of(&model.tokenizer, &answer.token_ids).map_err(|error| error.to_string())
}
