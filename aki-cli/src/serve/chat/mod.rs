//! `/v1/chat/completions`.

pub(super) mod answer;
pub(super) mod messages;
mod request;
mod response;
mod stream;

use std::sync::Arc;

use axum::extract::{self, Extension, Request};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;

use self::answer::{Event, Events};
use self::request::ChatRequest;
use self::response::{Choices, Head};
use super::record::Record;
use super::{ApiError, Busy, State, Ticket, body};

/// Answers a conversation, at once or as a stream of events.
pub async fn completions(
    extract::State(state): extract::State<State>,
    Extension(record): Extension<Arc<Record>>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut request = body::parsed(&state, request, ChatRequest::parse).await?;
    request.pictures = state.fetched(request.pictures).await?;
    let head = Head::new(&state, &request);
    let streams = request.stream;
    let (mut events, ticket) = begin(&state, &record, request)?;
    // Whatever is wrong with pictures and texts is known now, and has a status of its own.
    let Event::Begun { prompt_tokens } = next(&mut events, &ticket).await? else {
        return Err(ApiError::internal("an answer came before its beginning"));
    };
    record.tokens(prompt_tokens, 0);
    if streams {
        record.streams();
        let running = stream::Running {
            events,
            ticket,
            record,
        };
        return Ok(stream::response(head, prompt_tokens, running));
    }
    let mut choices = Choices::new(&head);
    loop {
        match next(&mut events, &ticket).await? {
            Event::Done { answer_tokens } => {
                record.tokens(prompt_tokens, answer_tokens);
                let whole = choices.response(&head, prompt_tokens, answer_tokens);
                return Ok(axum::Json(whole).into_response());
            }
            event => choices.take(event),
        }
    }
}

type Incoming = mpsc::UnboundedReceiver<Result<Event, ApiError>>;

/// Puts the answer into the queue.
fn begin(
    state: &State,
    record: &Record,
    request: ChatRequest,
) -> Result<(Incoming, Ticket), ApiError> {
    let (send, events) = mpsc::unbounded_channel();
    let (shared, begun) = (state.clone(), record.begun());
    let ticket = state.worker.submit(move |model, cancel| {
        let events = Events::new(send, &shared.metrics, begun);
        answer::answer(model, cancel, &request, &shared.settings, events);
    });
    let ticket = ticket.map_err(|Busy| state.worker.refusal())?;
    Ok((events, ticket))
}

/// What comes next. Nothing comes when the model's thread gave the answer up.
async fn next(events: &mut Incoming, ticket: &Ticket) -> Result<Event, ApiError> {
    match events.recv().await {
        Some(event) => event,
        None => Err(ticket.no_result()),
    }
}
