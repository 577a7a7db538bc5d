//! `/api/attention`: who looks at whom between a conversation's pictures and its words.

use std::time::Instant;

use aki_data::{Message, Picture, Piece, Role};
use aki_model::attention::Policy;
use aki_model::generate::{Ended, GenerateOptions, Sampler, Sampling, generate_scored};
use aki_train::answer::text_of;
use aki_train::folder::{ModelFolder, Part, View};
use axum::Json;
use axum::extract::{self, Request};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use burn::tensor::{DType, TensorData};
use serde_json::{Value, json};

use super::chat::answer::check_prompt;
use super::chat::messages;
use super::fields::Fields;
use super::picture::Encoded;
use super::{ApiError, Limits, State, body};

/// Tokens of an answer that is made under another rule, at most.
const MOST_TOKENS: usize = 64;

/// What is to be looked at.
struct Look {
    messages: Vec<Message>,
    /// The answer, if the conversation ends with one.
    answer: Option<String>,
    pictures: Vec<Encoded>,
    policy: Policy,
    layers: Option<Vec<usize>>,
    /// Whether the model's own answer under this rule is wanted.
    answers: bool,
}

/// Shows the attention of a conversation: of all heads, under the rule that is asked for.
pub async fn attention(
    extract::State(state): extract::State<State>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let mut look = body::parsed(&state, request, Look::parse).await?;
    look.pictures = state.fetched(look.pictures).await?;
    let shared = state.clone();
    let response = state.worker.ask(move |model, cancel| {
        let settings = &shared.settings;
        let deadline = Instant::now() + settings.time_limit;
        let going_on = || !cancel.is_set() && Instant::now() < deadline;
        look.response(model, settings.max_prompt, &going_on)
    });
    Ok(Json(response.await??))
}

impl Look {
    fn parse(body: &[u8], limits: &Limits) -> Result<Self, ApiError> {
        let mut fields = Fields::of_body(body)?;
        let policy = match fields.text("policy")?.as_deref() {
            Some("mma") => Policy::Mma,
            Some("causal") => Policy::Causal,
            _ => return Err(fields.fault("policy", "must be mma or causal")),
        };
        let number = |value: Value| {
            let number = value.as_u64().and_then(|it| usize::try_from(it).ok());
            number.ok_or_else(|| ApiError::param("layers", "layers must be whole numbers"))
        };
        let layers = fields.list("layers")?;
        let layers = layers.map(|list| list.into_iter().map(number).collect());
        let answers = fields.flag("answer")?.unwrap_or(false);
        let (mut messages, pictures) = messages::read(&mut fields, limits)?;
        let layers = layers.transpose()?;
        let last = messages.pop_if(|message| message.role == Role::Assistant);
        messages::check_end(&fields, &messages)?;
        fields.end()?;
        Ok(Self {
            messages,
            answer: last.map(|message| message.text),
            pictures,
            policy,
            layers,
            answers,
        })
    }

    fn response(
        &self,
        model: &ModelFolder,
        max_prompt: usize,
        going_on: &dyn Fn() -> bool,
    ) -> Result<Value, ApiError> {
        let answer = Piece::Text(self.answer.as_deref().unwrap_or_default());
        let len = model.sequence(&self.messages)?.input_ids.len();
        check_prompt(len + model.tokenizer.encode(&[answer])?.len(), max_prompt)?;
        let side = model.config.model.vision.image_size;
        let pictures = Encoded::decode_all(&self.pictures, side, going_on)?;
        let pictures: Vec<&Picture> = pictures.iter().collect();
        let view = model.view(
            &self.messages,
            self.answer.as_deref(),
            &pictures,
            self.policy,
            self.layers.as_deref(),
        )?;
        let answer = match self.answers {
            true => Some(self.own_answer(model, &pictures, going_on)?),
            false => None,
        };
        Ok(json(&view, self.policy, answer))
    }

    /// What the same weights answer under the rule, the likeliest token each time.
    fn own_answer(
        &self,
        model: &ModelFolder,
        pictures: &[&Picture],
        going_on: &dyn Fn() -> bool,
    ) -> Result<String, ApiError> {
        let prompt = model.conversation_under(self.policy, &self.messages, pictures)?;
        let options = GenerateOptions {
            stop: model.tokenizer.special().stops(),
            max_new_tokens: model.room(prompt.input_ids.len()).min(MOST_TOKENS),
            ..GenerateOptions::default()
        };
        let mut sampler = [Sampler::new(Sampling::default())];
        let mut generation = generate_scored(
            &model.aki,
            &[prompt],
            &mut sampler,
            &options,
            None,
            going_on,
            |_, _, _| going_on(),
        );
        let answer = generation.answers.remove(0);
        if answer.ended == Ended::NoNumbers {
            return Err(ApiError::no_numbers());
        }
        Ok(text_of(&model.tokenizer, &answer.token_ids)?)
    }
}

fn json(view: &View, policy: Policy, answer: Option<String>) -> Value {
    let words = view.words.iter().zip(&view.shown).map(|(word, shown)| {
        let part = match word.part {
            Part::Tag => "tag",
            Part::System => "system",
            Part::Question => "question",
            Part::Answer => "answer",
        };
        json!({"text": word.text, "part": part, "tokens": word.tokens.len(), "shown": shown})
    });
    let [_, heads, _, media] = view.of_media.shape().dims();
    let [_, patches] = view.sources.shape().dims();
    json!({
        "policy": policy,
        "words": words.collect::<Vec<_>>(),
        "layers": view.layers,
        "depth": view.depth,
        "heads": heads,
        "media": media,
        "grid": patches.isqrt(),
        // Little-endian f16: [layers, heads, words, media] and [media, patches].
        "media_to_words": halves(&view.of_media),
        "words_to_media": halves(&view.of_words),
        "patches": halves(&view.sources),
        "answer": answer,
    })
}

fn halves(values: &TensorData) -> String {
    let values = values.clone().convert_dtype(DType::F16);
    BASE64_STANDARD.encode(values.as_bytes())
}
