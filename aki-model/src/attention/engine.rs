//! The seam: one function that every network calls and every engine serves.

use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock, PoisonError};

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::{DType, Tensor};

use super::ops::AttentionOps;
use super::{AttentionLayout, reference};

/// The largest head that the fused engines of GPUs take; the CPU's takes any.
pub const MAX_HEAD_DIM: usize = 256;

/// Which engine computes attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The fused engine of the device and dtype, or the reference where there is none.
    #[default]
    Auto,
    /// The dense oracle, [`mod@reference`].
    Reference,
    /// The fused engine, with these kernels where the device is a GPU.
    Fused(Kernels),
}

/// Which kernels a GPU runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// Tensor cores where device, dtype and head size allow, plain kernels elsewhere.
    #[default]
    Auto,
    /// Shared memory and ordinary arithmetic: runs on any GPU.
    Plain,
    /// Tensor cores, f16 or bf16.
    TensorCore,
}

impl Engine {
    /// Whether the engine can compute attention of such queries, `[batch, heads, query_len,
    /// head_dim]`, on their device.
    ///
    /// # Errors
    ///
    /// Why it cannot, in words.
    pub fn serves(self, q_bhtd: &Tensor<4>) -> Result<(), String> {
        match self {
            Self::Auto | Self::Reference => Ok(()),
            Self::Fused(kernels) => fused_engine(q_bhtd, kernels),
        }
    }
}

/// Attention of `q` over `k` and `v` under the layout's visibility rule, scaled by
/// `1 / sqrt(head_dim)`.
///
/// The fused engine of the device computes it, forward and backward, without a matrix of scores:
/// on the CPU (feature `flex`) and on GPUs (features `wgpu`, `cuda`). Where there is none (another
/// Burn backend, f64, on GPUs heads wider than [`MAX_HEAD_DIM`]) the dense [`mod@reference`] does, and a
/// warning says so once. `AKI_ATTENTION=reference` in the environment asks for the reference
/// everywhere, `plain` and `tensor-core` for those GPU kernels; what cannot serve a call is ignored
/// with a warning.
///
/// Values are expected to be finite: a value that is not shows in the rows that see it, and may show
/// in rows of the same tile that do not.
///
/// # Shapes
///
/// - `q_bhtd`: `[batch, heads, query_len, head_dim]`
/// - `k_bhsd`, `v_bhsd`: `[batch, kv_heads, key_len, head_dim]`, `kv_heads` dividing `heads`
/// - output: as `q_bhtd`; a row that sees nothing is exactly 0 and has no gradient
///
/// # Panics
///
/// If the shapes or dtypes disagree with each other or with the layout.
pub fn mma_attention(
    q_bhtd: Tensor<4>,
    k_bhsd: Tensor<4>,
    v_bhsd: Tensor<4>,
    layout: &AttentionLayout,
) -> Tensor<4> {
    mma_attention_with(Engine::Auto, q_bhtd, k_bhsd, v_bhsd, layout)
}

/// [`mma_attention`] by a chosen engine, for tests and benchmarks.
///
/// # Panics
///
/// As [`mma_attention`]; also if the engine cannot serve the device, dtype or head size.
pub fn mma_attention_with(
    engine: Engine,
    q_bhtd: Tensor<4>,
    k_bhsd: Tensor<4>,
    v_bhsd: Tensor<4>,
    layout: &AttentionLayout,
) -> Tensor<4> {
    check(&q_bhtd, &k_bhsd, &v_bhsd, layout);
    let Some(kernels) = choose(engine, &q_bhtd) else {
        return reference::attention(q_bhtd, k_bhsd, v_bhsd, layout);
    };
    let table = layout.on_device(&q_bhtd.device());
    let (out, _) = Dispatch::attention_forward(
        q_bhtd.into_dispatch(),
        k_bhsd.into_dispatch(),
        v_bhsd.into_dispatch(),
        table.into_dispatch(),
        kernels,
    );
    Tensor::from_dispatch(out)
}

fn check(q_bhtd: &Tensor<4>, k_bhsd: &Tensor<4>, v_bhsd: &Tensor<4>, layout: &AttentionLayout) {
    let [batch, heads, query_len, head_dim] = q_bhtd.dims();
    let [_, kv_heads, key_len, _] = k_bhsd.dims();
    assert_eq!(
        [batch, query_len, key_len],
        [layout.batch(), layout.query_len(), layout.key_len()],
        "mma_attention: [batch, query_len, key_len] of the tensors and of the layout differ"
    );
    assert_eq!(
        k_bhsd.dims(),
        [batch, kv_heads, key_len, head_dim],
        "mma_attention: the keys' shape does not fit the queries' {:?}",
        q_bhtd.dims()
    );
    assert_eq!(
        k_bhsd.dims(),
        v_bhsd.dims(),
        "mma_attention: keys and values differ in shape"
    );
    assert!(
        heads > 0 && kv_heads > 0 && heads.is_multiple_of(kv_heads),
        "mma_attention: {kv_heads} key/value heads do not divide {heads} query heads"
    );
    assert_eq!(
        [k_bhsd.dtype(), v_bhsd.dtype()],
        [q_bhtd.dtype(); 2],
        "mma_attention: queries, keys and values differ in dtype"
    );
}

/// The kernels of the fused engine, or `None` for the reference.
fn choose(engine: Engine, q_bhtd: &Tensor<4>) -> Option<Kernels> {
    let kernels = match (engine, asked()) {
        (Engine::Reference, _) => return None,
        (Engine::Auto, Engine::Reference) => {
            tell_once("attention runs on the dense reference: AKI_ATTENTION asks for it");
            return None;
        }
        (Engine::Fused(kernels), _) | (Engine::Auto, Engine::Fused(kernels)) => kernels,
        (Engine::Auto, Engine::Auto) => Kernels::Auto,
    };
    let asked_by_code = matches!(engine, Engine::Fused(_));
    match fused_engine(q_bhtd, kernels) {
        Ok(()) => Some(kernels),
        Err(why) if asked_by_code => panic!("mma_attention: no such engine: {why}"),
        Err(why) if kernels != Kernels::Auto && fused_engine(q_bhtd, Kernels::Auto).is_ok() => {
            tell(&why, || tracing::warn!("AKI_ATTENTION is ignored: {why}"));
            Some(Kernels::Auto)
        }
        Err(why) => {
            tell(&why, || {
                tracing::warn!("attention runs on the dense reference, which is slow: {why}");
            });
            None
        }
    }
}

/// Whether a fused engine serves this tensor with these kernels, or why not.
fn fused_engine(q_bhtd: &Tensor<4>, kernels: Kernels) -> Result<(), String> {
    let device = q_bhtd.device().inner();
    match q_bhtd.dtype() {
        DType::F32 | DType::F16 | DType::BF16 => {}
        dtype => return Err(format!("{dtype:?} is none of f32, f16 and bf16")),
    }
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => match kernels {
            Kernels::Auto => Ok(()),
            _ => Err("the device is a CPU, and these kernels are a GPU's".to_owned()),
        },
        #[cfg(feature = "cube")]
        DispatchDevice::Cube(device) => {
            super::cube::serves(device, q_bhtd.dims(), q_bhtd.dtype(), kernels)
        }
        #[allow(unreachable_patterns, reason = "depends on the backends built in")]
        _ => {
            let _ = kernels;
            Err(format!(
                "aki-model was built without an engine for {device:?}"
            ))
        }
    }
}

/// What the environment asks for, read once.
pub(super) fn asked() -> Engine {
    static ASKED: OnceLock<Engine> = OnceLock::new();
    *ASKED.get_or_init(|| match std::env::var("AKI_ATTENTION").as_deref() {
        Ok("reference") => Engine::Reference,
        Ok("plain") => Engine::Fused(Kernels::Plain),
        Ok("tensor-core") => Engine::Fused(Kernels::TensorCore),
        Ok("" | "auto") | Err(_) => Engine::Auto,
        Ok(other) => {
            tracing::warn!(
                "AKI_ATTENTION={other} is ignored: it is none of auto, reference, plain and \
                 tensor-core"
            );
            Engine::Auto
        }
    })
}

/// Logs which engine or kernels were chosen and why, each choice once in a process.
pub(super) fn tell_once(choice: &str) {
    tell(choice, || tracing::info!("{choice}"));
}

fn tell(what: &str, log: impl FnOnce()) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if !told.contains(what) {
        told.insert(what.to_owned());
        log();
    }
}
