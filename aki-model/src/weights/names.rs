//! The one table of weight names. Most fields of our modules are named as the checkpoint names them;
//! what differs stands here, for reading and for writing.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Int, Tensor};

/// `(ours, the checkpoint's)`, for names that begin like this; `{}` stands for a layer number.
const RENAMED: [(&str, &str); 4] = [
    (
        "vision_tokenizer.layers.{}.attention.",
        "vision_tokenizer.layers.{}.0.",
    ),
    (
        "vision_tokenizer.layers.{}.feed_forward.norm.",
        "vision_tokenizer.layers.{}.1.0.",
    ),
    (
        "vision_tokenizer.layers.{}.feed_forward.up.",
        "vision_tokenizer.layers.{}.1.1.",
    ),
    (
        "vision_tokenizer.layers.{}.feed_forward.down.",
        "vision_tokenizer.layers.{}.1.3.",
    ),
];

/// `(ours, the checkpoint's, part of the rows)`: matrices that all families but Phi-3 hold in parts.
const CUT_UP: [(&str, &[&str]); 2] = [
    (
        "self_attn.qkv_proj",
        &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    ),
    ("mlp.gate_up_proj", &["mlp.gate_proj", "mlp.up_proj"]),
];

/// `(ours, PEFT's)`: the factors of an adapter.
const FACTORS: [(&str, &str); 2] = [
    (".adapter.a", ".lora_A.weight"),
    (".adapter.b", ".lora_B.weight"),
];

/// `(ours, the checkpoint's)`: a matrix that lies packed. Its name is that of the plain one and a tail, and
/// its shape `[out, words of a row]`.
pub(super) const PACKED: (&str, &str) = (".packed.words", ".weight_packed");

/// The name of a plain matrix's packed words.
pub(super) fn packed_name(name: &str) -> String {
    format!("{}{}", name.trim_end_matches(".weight"), PACKED.1)
}

/// How a checkpoint holds the language model's fused matrices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projections {
    /// Rows of queries, keys and values; none where they stand in one matrix.
    pub(crate) qkv_rows: Option<[usize; 3]>,
}

impl crate::language::LanguageConfig {
    /// How checkpoints of this family hold the fused matrices.
    pub fn projections(&self) -> Projections {
        let (heads, groups) = (self.num_attention_heads, self.num_key_value_heads);
        let rows = [heads, groups, groups].map(|heads| heads * self.head_dim());
        Projections {
            qkv_rows: (!self.fused_projections()).then_some(rows),
        }
    }
}

/// A parameter of a network, and the checkpoint's tensors it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Where it stands in our modules: `lang_model.model.norm.gamma`.
    pub path: String,
    /// Whether the checkpoint has it transposed: linear layers are `[out, in]` there.
    pub transposed: bool,
    /// The checkpoint's tensors, one below the other: name and shape.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// Whether it is a factor of an adapter, which no checkpoint of a network has.
    pub adapter: bool,
    /// Whether it is the words of a packed matrix: integers, and not the numbers themselves.
    pub packed: bool,
}

impl Parameter {
    /// The shape in the checkpoint, all parts together.
    pub(crate) fn shape(&self) -> Vec<usize> {
        let mut shape = self.tensors[0].1.clone();
        if let Some(rows) = shape.first_mut() {
            *rows = self.tensors.iter().map(|(_, shape)| shape[0]).sum();
        }
        shape
    }

    /// How many numbers it has; of a packed matrix, words.
    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// Bytes it takes with its numbers in `dtype`; packed words stay what they are.
    pub fn bytes(&self, dtype: DType) -> usize {
        let held = if self.packed { DType::I32 } else { dtype };
        self.len() * held.size()
    }

    /// Whether it has no numbers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The parameters of a network, in the order of its fields, without drawing those that have not been.
/// `prefix` is put before their names: `lang_model.` for a language model that stands alone.
pub fn parameters(module: &impl Module, projections: &Projections, prefix: &str) -> Vec<Parameter> {
    let mut visitor = Visitor {
        place: Place::default(),
        projections,
        prefix,
        found: Vec::new(),
    };
    module.visit(&mut visitor);
    visitor.found
}

struct Visitor<'a> {
    place: Place,
    projections: &'a Projections,
    prefix: &'a str,
    found: Vec<Parameter>,
}

impl ModuleVisitor for Visitor<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape = param.lazy_shape().to_vec();
        self.found
            .push(self.place.parameter(shape, self.projections, self.prefix));
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let shape = param.lazy_shape().to_vec();
        self.found
            .push(self.place.parameter(shape, self.projections, self.prefix));
    }
}

/// Where a walk through a module stands: names, and the kinds of what holds them.
#[derive(Default)]
struct Place(Vec<(String, String)>);

impl Place {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.push((name.to_owned(), container.to_owned()));
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    /// Our name of the parameter here.
    fn path(&self, prefix: &str) -> String {
        // The variants of an enum are no part of a name.
        let names = self
            .0
            .iter()
            .filter(|(_, holder)| !holder.starts_with("Enum:"));
        let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
        format!("{prefix}{}", names.join("."))
    }

    fn parameter(
        &self,
        mut shape: Vec<usize>,
        projections: &Projections,
        prefix: &str,
    ) -> Parameter {
        let path = self.path(prefix);
        let holder = self.0.last().map_or("", |(_, holder)| holder.as_str());
        let adapter = holder == "Struct:Adapter";
        let packed = holder == "Struct:PackedMatrix";
        let linear = holder == "Struct:Linear";
        let transposed = (linear || adapter) && shape.len() == 2;
        if transposed {
            shape.reverse();
        }
        if adapter {
            let mut name = path.clone();
            for (ours, theirs) in FACTORS {
                name = name.replace(ours, theirs);
            }
            return Parameter {
                path,
                transposed,
                tensors: vec![(name, shape)],
                adapter,
                packed,
            };
        }
        let mut name = renamed(&path);
        if packed {
            name = name.replace(PACKED.0, PACKED.1);
        }
        if matches!(holder, "Struct:LayerNorm" | "Struct:RmsNorm") {
            name = name.replace(".gamma", ".weight").replace(".beta", ".bias");
        }
        Parameter {
            tensors: cut_up(name, &shape, projections),
            path,
            transposed,
            adapter,
            packed,
        }
    }
}

/// The checkpoint's name, as long as it holds the parameter whole.
fn renamed(path: &str) -> String {
    for (ours, theirs) in RENAMED {
        let Some(((our_head, our_tail), (their_head, their_tail))) =
            ours.split_once("{}").zip(theirs.split_once("{}"))
        else {
            continue;
        };
        let Some((layer, rest)) = path
            .strip_prefix(our_head)
            .and_then(|rest| rest.split_once('.'))
        else {
            continue;
        };
        if let Some(rest) = rest.strip_prefix(&our_tail[1..]) {
            return format!("{their_head}{layer}{their_tail}{rest}");
        }
    }
    path.to_owned()
}

/// The tensors that a checkpoint has in the place of one: parts of its rows.
pub(super) fn cut_up(
    name: String,
    shape: &[usize],
    projections: &Projections,
) -> Vec<(String, Vec<usize>)> {
    let Some(qkv_rows) = projections.qkv_rows else {
        return vec![(name, shape.to_vec())];
    };
    for (whole, parts) in CUT_UP {
        if name.contains(whole) {
            let rows = match parts.len() {
                3 => qkv_rows.to_vec(),
                count => vec![shape[0] / count; count],
            };
            let part = |(part, rows): (&&str, usize)| {
                let mut shape = shape.to_vec();
                shape[0] = rows;
                (name.replace(whole, part), shape)
            };
            return parts.iter().zip(rows).map(part).collect();
        }
    }
    vec![(name, shape.to_vec())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_resampler_are_numbers() {
        for (ours, theirs) in [
            (
                "vision_tokenizer.layers.3.attention.norm_media.gamma",
                "vision_tokenizer.layers.3.0.norm_media.gamma",
            ),
            (
                "vision_tokenizer.layers.12.feed_forward.down.weight",
                "vision_tokenizer.layers.12.1.3.weight",
            ),
            ("vision_tokenizer.latents", "vision_tokenizer.latents"),
            ("lang_model.model.norm.gamma", "lang_model.model.norm.gamma"),
        ] {
            assert_eq!(renamed(ours), theirs);
        }
    }

    #[test]
    fn fused_matrices_are_cut_where_the_family_cuts_them() {
        let apart = Projections {
            qkv_rows: Some([8, 4, 4]),
        };
        let name = || "lang_model.model.layers.0.self_attn.qkv_proj.weight".to_owned();
        let parts = cut_up(name(), &[16, 6], &apart);
        assert_eq!(
            parts[1].0,
            "lang_model.model.layers.0.self_attn.k_proj.weight"
        );
        let rows: Vec<_> = parts.iter().map(|(_, shape)| shape.clone()).collect();
        assert_eq!(rows, [[8, 6], [4, 6], [4, 6]]);
        let whole = cut_up(name(), &[16, 6], &Projections { qkv_rows: None });
        assert_eq!(whole, [(name(), vec![16, 6])]);
    }
}
