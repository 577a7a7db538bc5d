//! The program as a user has it: each test starts the built `aki` and looks at what it prints and
//! leaves behind. Runs are the shipped one, shrunk until it takes a fraction of a second.

mod ask;
mod begin;
mod bench;
mod chat;
mod checkpoints;
mod data;
mod data_bench;
mod doctor;
mod errors;
mod golden;
mod help;
mod import;
mod lora;
mod page;
mod plan;
mod precision;
mod process;
mod published;
mod python;
mod quantize;
mod ranks;
mod resume;
mod runs;
mod serve;
mod sources;
mod steps;
mod support;
mod tensorboard;
mod torture;
mod train;
mod unfit;
mod wgpu;
