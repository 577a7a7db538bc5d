//! Who keeps the optimizer's state of which parameters, if each rank keeps a share of it (`ZeRO-1`).

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::Ranks;
use super::weights::give;

/// The parameters that are trained, shared out to the ranks by size, each to one. A rank steps its own,
/// with the same numbers as if it stepped all of them, and is given the others' weights.
pub struct Shares {
    ranks: Ranks,
    owners: HashMap<ParamId, usize>,
}

impl Shares {
    /// The same on each rank, and whenever a run is resumed.
    pub fn new<M: Module>(ranks: Ranks, module: &M) -> Self {
        let mut sizes = Sizes(Vec::new());
        module.visit(&mut sizes);
        let numbers: Vec<usize> = sizes.0.iter().map(|&(_, size)| size).collect();
        let owners = deal(&numbers, ranks.world_size());
        let ids = sizes.0.iter().map(|&(id, _)| id);
        Self {
            ranks,
            owners: ids.zip(owners).collect(),
        }
    }

    /// The gradients of the parameters that this rank steps.
    pub fn own<M: Module>(&self, module: &M, grads: GradientsParams) -> GradientsParams {
        let mut own = Own {
            shares: self,
            grads,
        };
        module.visit(&mut own);
        own.grads
    }

    /// The module with the weights that each parameter's owner has.
    pub fn exchange<M: Module>(&self, module: M) -> M {
        give(self.ranks, module, |id| self.owners.get(&id).copied())
    }
}

struct Sizes(Vec<(ParamId, usize)>);

impl ModuleVisitor for Sizes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if value.is_require_grad() {
            self.0.push((param.id, value.shape().num_elements()));
        }
    }
}

struct Own<'a> {
    shares: &'a Shares,
    grads: GradientsParams,
}

impl ModuleVisitor for Own<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let owner = self.shares.owners.get(&param.id);
        if owner.is_some_and(|&owner| owner != self.shares.ranks.rank()) {
            self.grads.remove::<D>(param.id);
        }
    }
}

/// For each of some sizes the rank it goes to: the largest first, each to who has least.
fn deal(sizes: &[usize], ranks: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(sizes[index]));
    let mut loads = vec![0; ranks];
    let mut owners = vec![0; sizes.len()];
    for index in order {
        let lightest = (0..ranks).min_by_key(|&rank| loads[rank]).unwrap_or(0);
        loads[lightest] += sizes[index];
        owners[index] = lightest;
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_always_the_same() {
        assert_eq!(deal(&[5, 1, 1, 9, 3], 1), [0; 5]);
        assert_eq!(deal(&[5, 1, 1, 9, 3], 2), [1, 1, 0, 0, 1]);
        assert_eq!(deal(&[2, 2, 2], 4), [0, 1, 2]);
        // A decoder of 32 blocks with four matrices, and two of embeddings.
        let block = [9216 * 3072, 3072 * 3072, 16384 * 3072, 8192 * 3072];
        let mut sizes = block.repeat(32);
        sizes.extend([32_064 * 3072; 2]);
        let owners = deal(&sizes, 16);
        let load = |rank| -> usize {
            let own = owners
                .iter()
                .zip(&sizes)
                .filter(|(owner, _)| **owner == rank);
            own.map(|(_, size)| size).sum()
        };
        let loads: Vec<usize> = (0..16).map(load).collect();
        let mean = sizes.iter().sum::<usize>() / 16;
        let most = loads.iter().max().expect("ranks");
        assert!(*most < mean + mean / 20, "{loads:?}, {mean} on average");
    }
}
