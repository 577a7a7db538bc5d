//! The gradients of all ranks, added up.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, FloatDType, Tensor, TensorData};

use super::Ranks;

/// Numbers that are sent together, 64 MB; what is larger by itself is sent as it is.
const BUCKET: usize = 1 << 24;

/// The sums of the gradients of all ranks, in f32.
///
/// A rank may have none for some parameters: a batch without pictures has none for the resampler. Where
/// no rank has one there is none afterwards, so that the optimizer leaves the parameter alone, as it
/// would with one rank.
pub fn sum_gradients<M: Module>(
    ranks: Ranks,
    module: &M,
    grads: GradientsParams,
) -> GradientsParams {
    match ranks.are_several() {
        true => summed(ranks, module, grads, BUCKET),
        false => grads,
    }
}

fn summed<M: Module>(
    ranks: Ranks,
    module: &M,
    grads: GradientsParams,
    limit: usize,
) -> GradientsParams {
    let mut present = Present {
        grads: &grads,
        flags: Vec::new(),
    };
    module.visit(&mut present);
    let mut flags = present.flags;
    ranks.sum(&mut flags);
    let mut bucket = Bucket {
        ranks,
        limit,
        flags: flags.into_iter(),
        grads,
        values: Vec::new(),
        parts: Vec::new(),
        sums: GradientsParams::new(),
    };
    module.visit(&mut bucket);
    bucket.empty();
    bucket.sums
}

/// Which parameters this rank has gradients for, 1 or 0.
struct Present<'a> {
    grads: &'a GradientsParams,
    flags: Vec<f32>,
}

impl ModuleVisitor for Present<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let present = self.grads.get::<D>(param.id).is_some();
        self.flags.push(f32::from(u8::from(present)));
    }
}

/// Gradients in the order of the parameters, added up whenever there are enough of them.
struct Bucket {
    ranks: Ranks,
    limit: usize,
    flags: std::vec::IntoIter<f32>,
    grads: GradientsParams,
    values: Vec<f32>,
    parts: Vec<Part>,
    sums: GradientsParams,
}

/// A parameter's share of a bucket, and what puts its sums where they belong.
struct Part {
    len: usize,
    put: Put,
}

type Put = Box<dyn FnOnce(&[f32], &mut GradientsParams)>;

impl Bucket {
    fn empty(&mut self) {
        self.ranks.sum(&mut self.values);
        let mut rest = &self.values[..];
        for Part { len, put } in self.parts.drain(..) {
            let (own, others) = rest.split_at(len);
            put(own, &mut self.sums);
            rest = others;
        }
        self.values.clear();
    }

    fn add(&mut self, len: usize, values: Option<&[f32]>, part: Part) {
        if !self.values.is_empty() && self.values.len() + len > self.limit {
            self.empty();
        }
        match values {
            Some(values) => self.values.extend_from_slice(values),
            None => self.values.resize(self.values.len() + len, 0.0),
        }
        self.parts.push(part);
    }
}

impl ModuleVisitor for Bucket {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.flags.next().is_none_or(|ranks| ranks == 0.0) {
            return;
        }
        let id = param.id;
        let own = self.grads.remove::<D>(id);
        let value = param.val();
        let (device, shape) = (value.device().without_autodiff(), value.shape());
        let data = own.map(|grad| grad.cast(FloatDType::F32).into_data());
        let values = data.as_ref().map(|data| {
            let values = data.as_slice::<f32>();
            values.expect("it was cast to f32")
        });
        let len = shape.num_elements();
        let put = move |sums: &[f32], grads: &mut GradientsParams| {
            let data = TensorData::new(sums.to_vec(), shape);
            let options = (&device, DType::F32);
            grads.register(id, Tensor::<D>::from_data(data, options));
        };
        let put = Box::new(put);
        self.add(len, values, Part { len, put });
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn buckets_lose_and_swap_nothing() {
        let device = Device::flex().autodiff();
        let modules: Vec<Linear> = [(3, 4), (4, 2), (2, 5)]
            .map(|(inputs, outputs)| LinearConfig::new(inputs, outputs).init(&device))
            .into();
        let x = Tensor::<2>::from_data([[1.0, 2.0, 3.0]], &device);
        // The last has no gradients.
        let grads = || {
            let y = modules[1].forward(modules[0].forward(x.clone())).sum();
            GradientsParams::from_grads(y.backward(), &modules)
        };
        let values = |grads: &GradientsParams, module: &Linear| {
            let bias = module.bias.as_ref().expect("a bias");
            let weight = grads.get::<2>(module.weight.id)?.into_data();
            let bias = grads.get::<1>(bias.id)?.into_data();
            Some((weight, bias))
        };
        for limit in [1, 9, 13, 1000] {
            let sums = summed(Ranks::ALONE, &modules, grads(), limit);
            for module in &modules {
                assert_eq!(values(&sums, module), values(&grads(), module), "{limit}");
            }
            assert_eq!(sums.len(), 4);
        }
    }
}
