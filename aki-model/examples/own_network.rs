//! Someone else's network with AKI's attention in it.
//!
//! A "picture" is six tokens, each of one of eight colours; the question behind it names a colour;
//! the answer is whether the picture shows it. The network has one layer and decides by what the
//! picture's tokens have become, so these must have seen the question. Under causal attention they
//! cannot, and the answers stay at chance; under modality-mutual attention they can.
//!
//! ```text
//! cargo run --release --example own_network
//! ```

use aki_model::attention::{AttentionLayout, Document, MmaAttention, MmaAttentionConfig, Policy};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const COLOURS: usize = 8;
const PICTURE: usize = 6;
/// The picture and the question's one word.
const TOKENS: usize = PICTURE + 1;
const BATCH: usize = 64;
const STEPS: usize = 600;
const WIDTH: usize = 32;

#[derive(Module, Debug)]
struct Network {
    words: Embedding,
    norm: LayerNorm,
    attention: MmaAttention,
    up: Linear,
    down: Linear,
    answer: Linear,
}

impl Network {
    fn new(device: &Device) -> Self {
        Self {
            words: EmbeddingConfig::new(2 * COLOURS, WIDTH).init(device),
            norm: LayerNormConfig::new(WIDTH).init(device),
            attention: MmaAttentionConfig::new(WIDTH, 4)
                .with_kv_heads(2)
                .with_rope(10_000.0)
                .init(device),
            up: LinearConfig::new(WIDTH, 4 * WIDTH).init(device),
            down: LinearConfig::new(4 * WIDTH, WIDTH).init(device),
            answer: LinearConfig::new(WIDTH, 2).init(device),
        }
    }

    /// Logits of no and yes, `[batch, 2]`, from token ids, `[batch, TOKENS]`.
    fn forward(&self, ids_bt: Tensor<2, Int>, layout: &AttentionLayout) -> Tensor<2> {
        let x_btd = self.words.forward(ids_bt);
        let attended = self
            .attention
            .forward(self.norm.forward(x_btd.clone()), layout, None);
        let x_btd = x_btd + attended;
        let x_btd = x_btd.clone() + self.down.forward(gelu(self.up.forward(x_btd)));
        let [batch, _, _] = x_btd.dims();
        let picture_bd = x_btd
            .slice([0..batch, 0..PICTURE, 0..WIDTH])
            .mean_dim(1)
            .reshape([batch, WIDTH]);
        self.answer.forward(picture_bd)
    }
}

/// Token ids and answers of a batch; as many answers are yes as no.
fn batch(rng: &mut ChaCha8Rng, device: &Device) -> (Tensor<2, Int>, Tensor<1, Int>) {
    let (mut ids, mut answers) = (Vec::new(), Vec::new());
    for at in 0..BATCH {
        let asked = rng.random_range(0..COLOURS);
        let shown = at % 2 == 0;
        let mut picture: Vec<usize> = (0..PICTURE)
            .map(|_| (asked + rng.random_range(1..COLOURS)) % COLOURS)
            .collect();
        if shown {
            picture[rng.random_range(0..PICTURE)] = asked;
        }
        ids.extend(
            picture
                .into_iter()
                .chain([COLOURS + asked])
                .map(|id| id as i32),
        );
        answers.push(i32::from(shown));
    }
    (
        Tensor::from_data(TensorData::new(ids, [BATCH, TOKENS]), device),
        Tensor::from_data(TensorData::new(answers, [BATCH]), device),
    )
}

/// Trains a network under `policy` and gives its share of right answers on fresh pictures.
fn trained(policy: Policy, device: &Device) -> f32 {
    device.seed(1);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let document = Document {
        tokens: 0..TOKENS,
        media: vec![0..PICTURE],
        question_end: Some(TOKENS),
    };
    let layout = AttentionLayout::from_spans(policy, TOKENS, &vec![vec![document]; BATCH])
        .expect("the document fits");

    let training = device.clone().autodiff();
    let mut network = Network::new(&training);
    let mut optimizer = AdamConfig::new().init();
    let loss = CrossEntropyLossConfig::new().init(&training);
    for _ in 0..STEPS {
        let (ids, answers) = batch(&mut rng, &training);
        let loss = loss.forward(network.forward(ids, &layout), answers);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(3e-3, network, gradients);
    }

    let network = network.valid();
    let rounds = 20;
    let right: f32 = (0..rounds)
        .map(|_| {
            let (ids, answers) = batch(&mut rng, device);
            let said = network.forward(ids, &layout).argmax(1).reshape([BATCH]);
            said.equal(answers).int().sum().into_scalar::<i32>() as f32
        })
        .sum();
    right / (rounds * BATCH) as f32
}

fn main() {
    let device = Device::flex();
    for policy in [Policy::Causal, Policy::Mma] {
        let right = 100.0 * trained(policy, &device);
        println!("{policy:?}: {right:.1} % right");
    }
}
