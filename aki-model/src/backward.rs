//! The backward pass of an operation of our own: from the gradient of what came out to those of what went
//! in.

use burn::backend::Backend;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::Ops;
use burn::backend::tensor::FloatTensor;

/// Takes the gradient of an operation's output, and registers what `work` makes of it and of what the
/// forward pass left. `work` is told which inputs want a gradient; others' are dropped.
pub(crate) fn backward<B: Backend, S, const N: usize>(
    ops: Ops<S, N>,
    grads: &mut Gradients,
    work: impl FnOnce(S, FloatTensor<B>, [bool; N]) -> [Option<FloatTensor<B>>; N],
) {
    let grad = grads.consume::<B>(&ops.node);
    let wanted = ops.parents.each_ref().map(Option::is_some);
    let gradients = work(ops.state, grad, wanted);
    for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
        if let (Some(node), Some(gradient)) = (parent, gradient) {
            grads.register::<B>(node.id, gradient);
        }
    }
}
