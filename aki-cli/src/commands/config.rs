//! `aki config`.

use std::io::Write;

use aki_train::config::RunConfig;
use aki_train::config::import::import;
use anyhow::Result;

use crate::args::ConfigCommand;

pub fn run(command: ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Show { file, set } => {
            let config = RunConfig::load(&super::run_file(file)?, &set)?;
            write!(std::io::stdout(), "{}", config.to_toml())?;
        }
        ConfigCommand::Import { file, out } => {
            let imported = import(&file, &|name| std::env::var(name).ok())?;
            for notice in &imported.notices {
                say!("{notice}");
            }
            match out {
                Some(out) => imported.save(&out)?,
                None => write!(std::io::stdout(), "{}", imported.toml)?,
            }
        }
    }
    Ok(())
}
