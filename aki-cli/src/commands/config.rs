//! `aki config`.

use std::io::Write;

use aki_train::config::RunConfig;
use anyhow::Result;

use crate::args::ConfigCommand;

pub fn run(command: ConfigCommand) -> Result<()> {
    let ConfigCommand::Show { file, set } = command;
    let config = RunConfig::load(&super::run_file(file)?, &set)?;
    write!(std::io::stdout(), "{}", config.to_toml())?;
    Ok(())
}
