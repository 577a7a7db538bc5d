//! How much the network computes: floating-point operations of its products, a multiplication and an
//! addition counted as two. Norms, activations and embeddings are left out; they are under 1 % of it.

use crate::AkiConfig;

/// What the network is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Pictures that are encoded.
    pub pictures: usize,
    /// Tokens that go through the decoder, those of the pictures among them.
    pub tokens: usize,
    /// Pairs of query and key that the layout shows, as
    /// [`visible_pairs`](crate::attention::AttentionLayout::visible_pairs) counts them.
    pub pairs: usize,
    /// Tokens that logits are made for.
    pub labels: usize,
}

/// Operations of a forward pass, by part.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flops {
    /// The vision tower.
    pub tower: f64,
    /// The resampler or projector.
    pub connector: f64,
    /// The matrices of the decoder's blocks.
    pub matrices: f64,
    /// Adapters beside them.
    pub adapters: f64,
    /// The blocks' attention over what the layout shows.
    pub attention: f64,
    /// The head.
    pub head: f64,
}

/// What is trained, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each part is trained or it is not"
)]
pub struct Trained {
    /// The vision tower.
    pub tower: bool,
    /// The resampler or projector.
    pub connector: bool,
    /// The embedding.
    pub embedding: bool,
    /// The matrices of the decoder's blocks.
    pub matrices: bool,
    /// Adapters beside them.
    pub adapters: bool,
    /// The head.
    pub head: bool,
}

impl AkiConfig {
    /// Operations of a forward pass. `adapters` is how many weights the low-rank adapters have.
    pub fn flops(&self, work: &Work, adapters: usize) -> Flops {
        let per = |count: usize, each: f64| count as f64 * each;
        let language = &self.language;
        let head_dim = language.head_dim();
        let (queries, groups) = (
            language.num_attention_heads * head_dim,
            language.num_key_value_heads * head_dim,
        );
        let hidden = language.hidden_size;
        let block = product(hidden, queries + 2 * groups)
            + product(queries, hidden)
            + product(hidden, 2 * language.intermediate_size)
            + product(language.intermediate_size, hidden);
        let layers = language.num_hidden_layers as f64;
        let words = language.vocab_size + language.added_tokens;
        Flops {
            tower: per(work.pictures, self.tower_flops()),
            connector: per(work.pictures, self.connector_flops()),
            matrices: per(work.tokens, layers * block),
            adapters: per(work.tokens, 2.0 * adapters as f64),
            attention: per(work.pairs, layers * attention(queries)),
            head: per(work.labels, product(hidden, words)),
        }
    }

    /// Of a picture.
    fn tower_flops(&self) -> f64 {
        let vision = &self.vision;
        let (width, tokens) = (vision.hidden_size, vision.num_tokens() as f64);
        let patch = 3 * vision.patch_size.pow(2);
        let layer = tokens * 4.0 * product(width, width)
            + tokens * 2.0 * product(width, vision.intermediate_size)
            + tokens * tokens * attention(width);
        vision.num_patches() as f64 * product(patch, width)
            + vision.num_hidden_layers as f64 * layer
    }

    /// Of a picture.
    fn connector_flops(&self) -> f64 {
        let (from, to) = (self.vision.hidden_size, self.language.hidden_size);
        let patches = self.vision.num_tokens() as f64;
        if let Some(resampler) = &self.resampler {
            let latents = resampler.num_latents as f64;
            let inner = resampler.heads * resampler.head_dim;
            let layer = latents * (product(from, inner) + product(inner, from))
                + (patches + latents) * product(from, 2 * inner)
                + latents * (patches + latents) * attention(inner)
                + latents * 2.0 * product(from, 4 * from);
            return resampler.depth as f64 * layer + latents * product(from, to);
        }
        self.projector.as_ref().map_or(0.0, |projector| {
            let inside = projector.hidden_size;
            patches * (product(from, inside) + product(inside, to))
        })
    }
}

impl Flops {
    /// Operations of the forward pass in all.
    pub fn forward(&self) -> f64 {
        let Self {
            tower,
            connector,
            matrices,
            adapters,
            attention,
            head,
        } = *self;
        tower + connector + matrices + adapters + attention + head
    }

    /// Operations of a training step: forward, and backward into whatever is trained. A trained part has
    /// twice its forward pass there, a frozen one behind something trained once, any other nothing.
    /// This is what model FLOPs utilisation counts, in which recomputation is no work.
    pub fn training(&self, trained: &Trained) -> f64 {
        let pass = |flops: f64, weights: bool, inputs: bool| {
            flops * (1.0 + f64::from(u8::from(weights)) + f64::from(u8::from(inputs)))
        };
        let Trained {
            tower,
            connector,
            embedding,
            matrices,
            adapters,
            head,
        } = *trained;
        // Within a part that is trained, gradients go from layer to layer.
        let through_connector = tower || connector;
        let through_blocks = through_connector || embedding || matrices || adapters;
        pass(self.tower, tower, tower)
            + pass(self.connector, connector, through_connector)
            + pass(self.matrices, matrices, through_blocks)
            + pass(self.adapters, adapters, through_blocks)
            // Both of its factors are activations.
            + pass(self.attention, through_blocks, through_blocks)
            + pass(self.head, head, through_blocks)
    }

    /// Operations that recomputing the decoder's blocks adds to a training step.
    pub fn recomputed(&self) -> f64 {
        self.matrices + self.adapters + self.attention
    }
}

/// Of one row through a matrix.
fn product(from: usize, to: usize) -> f64 {
    2.0 * from as f64 * to as f64
}

/// Of a pair of query and key, `width` channels in all heads together: the score, and the value's share.
fn attention(width: usize) -> f64 {
    4.0 * width as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights of all matrices whose path fits.
    fn weights(config: &AkiConfig, fits: impl Fn(&str) -> bool) -> f64 {
        let parameters = config.parameters();
        let matrices = parameters
            .iter()
            .filter(|parameter| parameter.tensors[0].1.len() > 1 && fits(&parameter.path));
        matrices.map(|parameter| parameter.len() as f64).sum()
    }

    /// All are whole numbers that an f64 holds.
    fn same(one: f64, other: f64) {
        assert!((one - other).abs() < 0.5, "{one} and {other}");
    }

    fn work() -> Work {
        Work {
            pictures: 1,
            tokens: 656,
            pairs: 656 * 657 / 2,
            labels: 100,
        }
    }

    #[test]
    fn each_weight_is_multiplied_and_added_once_a_token() {
        for preset in AkiConfig::PRESETS {
            let config = AkiConfig::preset(preset).unwrap();
            let flops = config.flops(&work(), 0);
            let blocks = weights(&config, |path| path.starts_with("lang_model.model.layers"));
            same(flops.matrices, 2.0 * 656.0 * blocks);
            let head = weights(&config, |path| {
                path.starts_with("lang_model.lm_head") && !path.ends_with("bias")
            });
            same(flops.head, 2.0 * 100.0 * head);

            let vision = &config.vision;
            let (tokens, width) = (vision.num_tokens() as f64, vision.hidden_size as f64);
            let tower = weights(&config, |path| {
                path.starts_with("vision_encoder.encoder") || path.contains("patch_embedding")
            });
            let attention = vision.num_hidden_layers as f64 * 4.0 * tokens * tokens * width;
            same(flops.tower, 2.0 * tokens * tower + attention);

            let resampler = config.resampler.as_ref().unwrap();
            let latents = resampler.num_latents as f64;
            let keys = weights(&config, |path| path.contains("to_kv"));
            let others = weights(&config, |path| {
                path.starts_with("vision_tokenizer")
                    && !path.contains("to_kv")
                    && !path.ends_with("latents")
            });
            let inner = (resampler.heads * resampler.head_dim * resampler.depth) as f64;
            let attention = 4.0 * latents * (tokens + latents) * inner;
            same(
                flops.connector,
                2.0 * (latents * others + (tokens + latents) * keys) + attention,
            );
        }
    }

    #[test]
    fn a_frozen_part_has_no_backward_pass_but_what_goes_through_it() {
        let config = AkiConfig::preset("aki-4b").unwrap();
        let flops = config.flops(&work(), 1000);
        let all = Trained {
            tower: true,
            connector: true,
            embedding: true,
            matrices: true,
            adapters: true,
            head: true,
        };
        same(flops.training(&all), 3.0 * flops.forward());
        same(flops.training(&Trained::default()), flops.forward());
        let frozen_tower = Trained {
            tower: false,
            ..all
        };
        let saved = flops.training(&all) - flops.training(&frozen_tower);
        assert!((saved / flops.tower - 2.0).abs() < 1e-9, "{saved}");
        let lora = Trained {
            adapters: true,
            ..Trained::default()
        };
        let expected = flops.forward()
            + flops.matrices
            + flops.head
            + 2.0 * (flops.attention + flops.adapters);
        assert!((flops.training(&lora) / expected - 1.0).abs() < 1e-12);
        // A head alone is trained on what the others give.
        let head = Trained {
            head: true,
            ..Trained::default()
        };
        same(flops.training(&head), flops.forward() + flops.head);
    }

    #[test]
    fn a_projector_is_two_products_a_token() {
        let mut config = AkiConfig::preset("aki-tiny").unwrap();
        config.resampler = None;
        config.projector = Some(crate::projector::ProjectorConfig { hidden_size: 50 });
        let flops = config.flops(&work(), 0);
        same(flops.connector, 2.0 * 64.0 * (128.0 * 50.0 + 50.0 * 192.0));
    }
}
