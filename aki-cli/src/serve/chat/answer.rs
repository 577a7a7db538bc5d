//! Making an answer, on the model's thread.

use std::time::Instant;

use aki_data::{DataError, Picture, Tokenizer};
use aki_model::generate::{
    Ended, GenerateOptions, Logprobs, Prompt, Sampler, Sampling, generate_scored,
};
use aki_train::answer::AnswerText;
use aki_train::folder::ModelFolder;
use tokio::sync::mpsc::UnboundedSender;

use super::request::ChatRequest;
use crate::serve::metrics::Metrics;
use crate::serve::picture::Encoded;
use crate::serve::{ApiError, Cancel, Settings};

/// What comes of an answer: its beginning, parts of its choices, the end of each, the end.
#[derive(Debug)]
pub enum Event {
    /// The request can be granted.
    Begun {
        /// Tokens of the prompt, those of pictures included.
        prompt_tokens: usize,
    },
    /// Text that is certain, and its tokens if asked for.
    Text {
        choice: usize,
        text: String,
        tokens: Vec<Token>,
    },
    /// A choice has come to its end.
    Ended {
        choice: usize,
        /// "stop" or "length".
        reason: &'static str,
    },
    /// All have.
    Done {
        /// Tokens of all choices.
        answer_tokens: usize,
    },
}

/// A token and how likely it was, with the likeliest in its place.
#[derive(Debug)]
pub struct Token {
    /// What it says by itself.
    pub bytes: Vec<u8>,
    /// The logarithm of its probability.
    pub logprob: f32,
    /// Likewise, the likeliest first.
    pub likeliest: Vec<(Vec<u8>, f32)>,
}

/// Where events go, with the clock beside it.
pub struct Events<'a> {
    send: UnboundedSender<Result<Event, ApiError>>,
    metrics: &'a Metrics,
    begun: Instant,
    newest: Option<Instant>,
}

impl<'a> Events<'a> {
    /// Events of a request that began then.
    pub fn new(
        send: UnboundedSender<Result<Event, ApiError>>,
        metrics: &'a Metrics,
        begun: Instant,
    ) -> Self {
        Self {
            send,
            metrics,
            begun,
            newest: None,
        }
    }

    /// Who has left hears nothing.
    fn send(&self, event: Result<Event, ApiError>) {
        self.send.send(event).ok();
    }

    /// Measures a token of the first choice.
    fn token(&mut self) {
        let now = Instant::now();
        match self.newest.replace(now) {
            None => self
                .metrics
                .first_token
                .observe((now - self.begun).as_secs_f64()),
            Some(before) => self.metrics.token.observe((now - before).as_secs_f64()),
        }
    }
}

/// Answers a request, within some time from now. Whatever comes of it goes to `events`.
pub fn answer(
    model: &ModelFolder,
    cancel: &Cancel,
    request: &ChatRequest,
    settings: &Settings,
    mut events: Events,
) {
    let (deadline, max_prompt) = (Instant::now() + settings.time_limit, settings.max_prompt);
    let going_on = || !cancel.is_set() && Instant::now() < deadline;
    let done = prompt(model, request, max_prompt, &going_on)
        .and_then(|(prompt, room)| make(model, request, prompt, room, &going_on, &mut events));
    events.send(done);
}

/// The prompt, and how many tokens may follow it.
fn prompt(
    model: &ModelFolder,
    request: &ChatRequest,
    most: usize,
    going_on: &dyn Fn() -> bool,
) -> Result<(Prompt, usize), ApiError> {
    let sequence = model.sequence(&request.messages)?;
    let len = sequence.input_ids.len();
    model.check_length("the prompt", len)?;
    let room = model.room(len);
    if room == 0 {
        let message = format!("the prompt has {len} tokens, which fills the model");
        return Err(ApiError::too_long(message));
    }
    // Each choice has a copy of what is kept of the prompt.
    check_prompt(len * request.choices, most)?;
    let side = model.config.model.vision.image_size;
    let pictures = Encoded::decode_all(&request.pictures, side, going_on)?;
    let pictures: Vec<&Picture> = pictures.iter().collect();
    let prompt = model.prepared(sequence, &pictures)?;
    Ok((prompt, room.min(request.max_tokens)))
}

/// Refuses prompts of more tokens than the server takes.
///
/// # Errors
///
/// 400 if it is one.
pub fn check_prompt(len: usize, most: usize) -> Result<(), ApiError> {
    if len <= most {
        return Ok(());
    }
    Err(ApiError::too_long(format!(
        "the prompt has {len} tokens, those of pictures and of every choice included, which is more than the \
         {most} allowed; see --max-prompt"
    )))
}

fn make(
    model: &ModelFolder,
    request: &ChatRequest,
    prompt: Prompt,
    room: usize,
    going_on: &dyn Fn() -> bool,
    events: &mut Events,
) -> Result<Event, ApiError> {
    let prompt_tokens = prompt.input_ids.len();
    events.send(Ok(Event::Begun { prompt_tokens }));
    let options = GenerateOptions {
        stop: model.tokenizer.special().stops(),
        max_new_tokens: room,
        ..GenerateOptions::default()
    };
    let seeded = |at: usize| Sampling {
        seed: request.sampling.seed.wrapping_add(at as u64),
        ..request.sampling.clone()
    };
    // One prompt for all of them.
    let numbers = 0..request.choices;
    let mut samplers: Vec<_> = numbers.clone().map(|at| Sampler::new(seeded(at))).collect();
    let tokenizer = &model.tokenizer;
    let mut choices: Vec<Choice> = numbers
        .map(|number| Choice {
            number,
            text: AnswerText::new(tokenizer, &request.stop),
            tokens: Vec::new(),
        })
        .collect();
    let mut fault = None;
    let generation = generate_scored(
        &model.aki,
        &[prompt],
        &mut samplers,
        &options,
        request.logprobs,
        going_on,
        |at, id, logprobs| {
            if at == 0 {
                events.token();
            }
            let choice = &mut choices[at];
            choice
                .tokens
                .extend(logprobs.map(|it| token(tokenizer, id, it)));
            match choice.push(id, events) {
                Ok(()) => !choice.text.stopped() && going_on(),
                Err(error) => {
                    fault = Some(error);
                    false
                }
            }
        },
    );
    if let Some(error) = fault {
        return Err(ApiError::internal(error.to_string()));
    }
    let answers = &generation.answers;
    if answers.iter().any(|it| it.ended == Ended::NoNumbers) {
        return Err(ApiError::no_numbers());
    }
    for (choice, answer) in choices.iter_mut().zip(answers) {
        let fault = |error: DataError| ApiError::internal(error.to_string());
        choice.end(answer.ended, events).map_err(fault)?;
    }
    let answer_tokens = answers.iter().map(|answer| answer.token_ids.len()).sum();
    events.metrics.prompt_tokens.inc_by(prompt_tokens as u64);
    events.metrics.answer_tokens.inc_by(answer_tokens as u64);
    Ok(Event::Done { answer_tokens })
}

/// One of the answers to a request.
struct Choice<'a> {
    number: usize,
    text: AnswerText<'a>,
    /// Tokens whose text is not certain yet.
    tokens: Vec<Token>,
}

impl Choice<'_> {
    fn push(&mut self, id: u32, events: &Events) -> Result<(), DataError> {
        let new = self.text.push(id)?.to_owned();
        self.say(new, events);
        Ok(())
    }

    fn say(&mut self, text: String, events: &Events) {
        if text.is_empty() {
            return;
        }
        events.send(Ok(Event::Text {
            choice: self.number,
            text,
            tokens: std::mem::take(&mut self.tokens),
        }));
    }

    fn end(&mut self, ended: Ended, events: &Events) -> Result<(), DataError> {
        let rest = self.text.finish()?.to_owned();
        self.say(rest, events);
        // Those of a stop string are no part of the answer.
        if !self.text.stopped() && !self.tokens.is_empty() {
            events.send(Ok(Event::Text {
                choice: self.number,
                text: String::new(),
                tokens: std::mem::take(&mut self.tokens),
            }));
        }
        let reason = match ended {
            Ended::Stop(_) => "stop",
            _ if self.text.stopped() => "stop",
            // As long as it may be, or may take.
            _ => "length",
        };
        events.send(Ok(Event::Ended {
            choice: self.number,
            reason,
        }));
        Ok(())
    }
}

fn token(tokenizer: &Tokenizer, id: u32, logprobs: Logprobs) -> Token {
    let bytes = |id| tokenizer.token_bytes(id).unwrap_or_default();
    let likeliest = logprobs.likeliest.into_iter();
    Token {
        bytes: bytes(id),
        logprob: logprobs.drawn,
        likeliest: likeliest.map(|(id, it)| (bytes(id), it)).collect(),
    }
}
