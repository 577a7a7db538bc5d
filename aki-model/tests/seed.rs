//! One seed gives one model, and one set of adapters. Alone in its file, since a process shares one generator a device.

mod common;

use aki_model::adapters::{AdapterConfig, Base};
use burn::store::ModuleSnapshot;
use burn::tensor::Device;

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
}
