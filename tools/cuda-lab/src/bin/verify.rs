//! Runs one attention, forward and backward, on the emulated device.
//!
//!     verify FOLDER BUILDS ARCH FAMILY DTYPE TILE BATCH HEADS KV_HEADS QUERY_LEN KEY_LEN HEAD_DIM ORDER...
//!
//! `verify.py` calls it: it has written `q`, `k`, `v`, `grad` (as the dtype), `rules` and `text`
//! (`i32`, see `layout/table.rs`) into FOLDER, and finds there `out.ORDER`, `lse.ORDER`,
//! `dq.ORDER`, `dk.ORDER` and `dv.ORDER` for each order of threads.

use std::path::Path;

use cuda_lab::family::{Attention, arg, dtype};
use cuda_lab::sizes::Shapes;
use cuda_lab::{Lab, client, pack, set_order};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, folder, builds, arch, family, name, rest @ ..] = &args[..] else {
        panic!("see the head of verify.rs")
    };
    let numbers: Vec<usize> = rest.iter().map(|word| word.parse().unwrap()).collect();
    let &[
        tile,
        batch,
        heads,
        kv_heads,
        query_len,
        key_len,
        head_dim,
        ref orders @ ..,
    ] = &numbers[..]
    else {
        panic!("see the head of verify.rs")
    };
    let (dtype, bytes) = dtype(name);
    let folder = Path::new(folder);
    let client = client(Lab {
        arch: arch.parse().unwrap(),
        sources: folder.into(),
        builds: Some(builds.into()),
    });
    let attention = Attention {
        client: client.clone(),
        tensor_core: family == "tensor_core",
        dtype,
        shapes: Shapes {
            batch,
            heads,
            kv_heads,
            query_len,
            key_len,
            head_dim,
        },
        tile,
    };

    let read = |file: &str| std::fs::read(folder.join(file)).unwrap();
    let integers = |file: &str| -> Vec<i32> {
        let number = |x: &[u8]| i32::from_ne_bytes(x.try_into().unwrap());
        read(file).chunks(4).map(number).collect()
    };
    let rules = integers("rules");
    let rules: Vec<[i32; 4]> = rules.chunks(4).map(|x| x.try_into().unwrap()).collect();
    let text: Vec<bool> = integers("text").into_iter().map(|is| is != 0).collect();
    let table = pack(&rules, &text, query_len, key_len);
    let table: Vec<u8> = table.into_iter().flat_map(i32::to_ne_bytes).collect();
    let layout = client.create_from_slice(&table);
    let [q, k, v, grad] = ["q", "k", "v", "grad"].map(|file| client.create_from_slice(&read(file)));

    for &order in orders {
        set_order(order as u32);
        let rows = batch * heads * query_len;
        let [out, dq] = [q.size(), q.size()].map(|size| client.empty(size as usize));
        let [lse, stats] = [rows, 2 * rows].map(|len| client.empty(4 * len));
        let [of_q, of_k, of_v] = [&q, &k, &v].map(|x| arg(x, bytes));
        attention.forward([
            of_q,
            of_k,
            of_v,
            arg(&layout, 4),
            arg(&out, bytes),
            arg(&lse, 4),
        ]);
        attention.delta([
            arg(&out, bytes),
            arg(&grad, bytes),
            arg(&lse, 4),
            arg(&stats, 4),
        ]);
        let args = || {
            let [q, k, v, grad] = [&q, &k, &v, &grad].map(|x| arg(x, bytes));
            [q, k, v, grad, arg(&stats, 4), arg(&layout, 4)]
        };
        attention.query_gradient(args(), arg(&dq, bytes));
        let [dk, dv] = attention.key_value_gradient(args, bytes);
        for (file, handle) in [
            ("out", out),
            ("lse", lse),
            ("dq", dq),
            ("dk", dk),
            ("dv", dv),
        ] {
            let data = client.read_one(handle).unwrap();
            std::fs::write(folder.join(format!("{file}.{order}")), &data[..]).unwrap();
        }
    }
}
