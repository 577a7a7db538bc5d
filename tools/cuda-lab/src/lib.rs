//! CUDA without a card: the kernels of `aki-model`, from the same files, on a CubeCL device that
//! turns launches into CUDA C++ and can run them on the CPU. See the README beside `Cargo.toml`.

mod device;
pub mod family;
mod server;

#[path = "../../../aki-model/src/attention/cube/plain/mod.rs"]
pub mod plain;
#[allow(dead_code, reason = "what only the library calls")]
#[path = "../../../aki-model/src/attention/cube/rule.rs"]
pub mod rule;
#[allow(dead_code, reason = "what only the library calls")]
#[path = "../../../aki-model/src/attention/cube/sizes.rs"]
pub mod sizes;
#[allow(dead_code, reason = "what only the library calls")]
#[path = "../../../aki-model/src/attention/layout/table.rs"]
mod table;
#[path = "../../../aki-model/src/attention/cube/tensor_core/mod.rs"]
pub mod tensor_core;

/// The modules under the names by which the kernels know them.
pub mod attention {
    pub mod layout {
        pub use crate::table::{RULE_WIDTH, SUMMARY_ROWS, SUMMARY_WIDTH};
    }
    pub mod cube {
        pub use crate::{rule, sizes};
    }
}

pub use server::{Lab, client, set_label, set_order};

/// The layout's table, packed as the library packs it.
pub fn pack(
    rules: &[[i32; table::RULE_WIDTH]],
    text: &[bool],
    query_len: usize,
    key_len: usize,
) -> Vec<i32> {
    table::pack(rules, text, query_len, key_len)
}
