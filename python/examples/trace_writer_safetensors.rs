// Writes what an engine computed as a trace (docs/trace-format.md), with the crate `safetensors`. trace_writer.rs needs
// no crate. Not built where assay is tested: no registry of crates is reachable there.
//     cargo new tracer && cd tracer && cargo add safetensors@0.4 serde_json
//     cp trace_writer_safetensors.rs src/main.rs && cargo run -- FILE
use safetensors::tensor::{serialize_to_file, Dtype, TensorView};
use std::collections::HashMap;

struct Tensor<'a> {
    name: &'a str,     // "embd", "blk.0.q", ...: the table in docs/trace-format.md
    values: &'a [f32], // (rows, width), row by row
    rows: usize,       // a row for each token
}

/// One step's tensors, in execution order.
fn write_trace(path: &std::path::Path, engine: &str, tokens: &[u32], tensors: &[Tensor])
    -> Result<(), Box<dyn std::error::Error>> {
    let metadata = HashMap::from([
        ("format".to_string(), "assay.trace/1".to_string()),
        ("engine".to_string(), engine.to_string()),
        ("tokens".to_string(), serde_json::to_string(tokens)?),
    ]);
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let mut views = Vec::new();
    for (i, (tensor, bytes)) in tensors.iter().zip(&bytes).enumerate() {
        let shape = vec![tensor.rows, tensor.values.len() / tensor.rows];
        views.push((format!("{i:06}.{}", tensor.name), TensorView::new(Dtype::F32, shape, bytes)?));
    }
    serialize_to_file(views, &Some(metadata), path)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).expect("usage: tracer FILE");
    let embd = [0.5, -1.0, 2.0, 0.0, 1.0, 0.25, -3.0, 8.0];
    let logits = [1.0, 2.0, 3.0, -1.0, 0.0, 1.5];
    let tensors = [
        Tensor { name: "embd", values: &embd, rows: 2 },
        Tensor { name: "logits", values: &logits, rows: 2 },
    ];
    write_trace(std::path::Path::new(&path), "example 1.0", &[504, 3575], &tensors)
}
