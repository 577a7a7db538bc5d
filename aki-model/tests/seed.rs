//! One seed gives one model, and one set of adapters. Alone in its file, since a process shares one generator a device.

mod common;

use aki_model::adapters::{AdapterConfig, Base};
use burn::store::ModuleSnapshot;
use burn::tensor::{Device, Distribution, Tensor};

#[test]
fn one_seed_gives_one_model() {
    let device = Device::flex();
    let adapters = AdapterConfig {
        rank: 2,
        alpha: 4.0,
        targets: vec!["qkv_proj".to_owned(), "down_proj".to_owned()],
        base: Base::Same,
    };
    let draw = |seed| -> Vec<Vec<u8>> {
        device.seed(seed);
        let aki = common::tiny().init(20, &device).with_adapters(&adapters);
        let tensors = aki.collect(None, None, false);
        let of_adapters = tensors.iter().filter(|it| it.name.contains(".adapter."));
        assert_eq!(of_adapters.count(), 8);
        tensors
            .iter()
            .map(|tensor| tensor.to_bytes().unwrap().to_vec())
            .collect()
    };
    assert_eq!(draw(5), draw(5));
    assert_ne!(draw(5), draw(6));

    // What is to be loaded is not drawn: the generator stands where it stood.
    let next = || Tensor::<1>::random([1], Distribution::Default, &device).into_data();
    device.seed(5);
    let untouched = next();
    for base in [Base::Same, Base::Int4] {
        let adapters = AdapterConfig {
            base,
            ..adapters.clone()
        };
        let mut config = common::tiny();
        config.language.hidden_size = 32;
        config.language.intermediate_size = 32;
        device.seed(5);
        let adapted = config.undrawn(20, &device).with_adapters(&adapters);
        let adapted = adapted.frozen_under_adapters();
        assert_eq!(next(), untouched);
        // Read after all, it is a network.
        assert!(!adapted.merged().language().has_adapters());
    }
}
