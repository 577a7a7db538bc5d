//! Writes the CUDA C++ of every variant of every kernel; nothing runs.
//!
//!     variants ARCH FOLDER      ARCH: 80, 86, 89, 90
//!
//! Files are named `family.dtype.head_dim.kernel_hash.cu`. A kernel that serves several head_dims
//! appears under the first.

use cuda_lab::family::{Attention, TILES, arg, dtype};
use cuda_lab::sizes::Shapes;
use cuda_lab::{Lab, client, set_label};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, arch, folder] = &args[..] else {
        panic!("variants ARCH FOLDER")
    };
    let client = client(Lab {
        arch: arch.parse().unwrap(),
        sources: folder.into(),
        builds: None,
    });
    for family in ["plain", "tensor_core"] {
        for head_dim in [64, 72, 80, 96, 128, 256] {
            for name in ["f32", "f16", "bf16"] {
                let tensor_core = family == "tensor_core";
                if tensor_core && name == "f32" {
                    continue;
                }
                set_label(format!("{family}.{name}.{head_dim}."));
                // The plain kernels have a tile of their own for few queries.
                for query_len in [16, 64] {
                    for tile in 0..TILES {
                        launch(&Attention {
                            client: client.clone(),
                            tensor_core,
                            dtype: dtype(name).0,
                            shapes: Shapes {
                                batch: 1,
                                heads: 1,
                                kv_heads: 1,
                                query_len,
                                key_len: 64,
                                head_dim,
                            },
                            tile,
                        });
                    }
                }
                // The server has then done all this, and its errors come out.
                client.read_one(client.empty(4)).unwrap();
            }
        }
    }
}

/// All kernels, with a buffer that nobody looks into.
fn launch(attention: &Attention) {
    let buffer = attention.client.empty(16);
    let args = || [(); 6].map(|()| arg(&buffer, 4));
    attention.forward([(); 6].map(|()| arg(&buffer, 4)));
    attention.delta([(); 4].map(|()| arg(&buffer, 4)));
    attention.query_gradient(args(), arg(&buffer, 4));
    attention.key_value_gradient(args, 4);
}
