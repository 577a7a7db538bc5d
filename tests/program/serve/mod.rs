//! `aki serve`, over plain sockets and by OpenAI's own client.

mod answers;
mod evaluators;
mod fetched;
mod guards;
mod openai;
mod queue;
mod refusals;
pub mod server;
