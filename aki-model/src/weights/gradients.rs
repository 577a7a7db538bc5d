//! Norms of gradients, under the checkpoint's names.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{FloatDType, Gradients, Tensor};

use super::names::{Parameter, Projections, parameters};

/// The L2 norm of the gradient of each of a network's tensors, in the checkpoint's names and cuts; none
/// where there is no gradient, as for a frozen tower.
pub fn gradient_norms(
    module: &impl Module,
    projections: &Projections,
    prefix: &str,
    gradients: &Gradients,
) -> Vec<(String, Option<f64>)> {
    let mut wanted = parameters(module, projections, prefix);
    // A packed matrix is frozen, and no walk through the floats meets it.
    wanted.retain(|parameter| !parameter.packed);
    let mut visitor = Gathered {
        wanted: wanted.into_iter(),
        gradients,
        norms: Vec::new(),
    };
    module.visit(&mut visitor);
    visitor.norms
}

struct Gathered<'a> {
    wanted: std::vec::IntoIter<Parameter>,
    gradients: &'a Gradients,
    norms: Vec<(String, Option<f64>)>,
}

impl ModuleVisitor for Gathered<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parameter = self
            .wanted
            .next()
            .expect("both walks go through the same module");
        let gradient = param.val().grad(self.gradients);
        let gradient = gradient.map(|it| {
            if parameter.transposed {
                it.transpose()
            } else {
                it
            }
        });
        let mut start = 0;
        for (name, shape) in parameter.tensors {
            let rows = start..start + shape[0];
            start = rows.end;
            let norm = gradient.clone().map(|gradient| {
                let part = gradient.slice([rows]).cast(FloatDType::F32).into_data();
                part.iter::<f64>().map(|x| x * x).sum::<f64>().sqrt()
            });
            self.norms.push((name, norm));
        }
    }
}
