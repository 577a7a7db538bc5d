//! The program as a user has it: each test starts the built `aki` and looks at what it prints and
//! leaves behind. Runs are the shipped one, shrunk until it takes a fraction of a second.

mod ask;
mod bench;
mod data;
mod data_bench;
mod errors;
mod help;
mod import;
mod published;
mod resume;
mod sources;
mod support;
mod tensorboard;
mod train;
mod unfit;
