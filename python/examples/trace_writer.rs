// Writes what an engine computed as a trace (docs/trace-format.md). Copy write_trace into your engine.
//     rustc trace_writer.rs && ./trace_writer FILE
use std::io::Write;

struct Tensor<'a> {
    name: &'a str,     // "embd", "blk.0.q", ...: the table in docs/trace-format.md
    values: &'a [f32], // (rows, width), row by row
    rows: usize,       // a row for each token
}

/// One step's tensors, in execution order. `engine` and names are put into JSON as they are: no quotes in them.
fn write_trace(path: &str, engine: &str, tokens: &[u32], tensors: &[Tensor]) -> std::io::Result<()> {
    let mut header = format!(
        r#"{{"__metadata__":{{"format":"assay.trace/1","engine":"{engine}","tokens":"{tokens:?}"}}"#
    );
    let mut offset = 0;
    for (i, tensor) in tensors.iter().enumerate() {
        let end = offset + 4 * tensor.values.len();
        header += &format!(
            r#","{i:06}.{}":{{"dtype":"F32","shape":[{},{}],"data_offsets":[{offset},{end}]}}"#,
            tensor.name, tensor.rows, tensor.values.len() / tensor.rows
        );
        offset = end;
    }
    header.push('}');
    header += &" ".repeat((8 - header.len() % 8) % 8);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for value in tensors.iter().flat_map(|tensor| tensor.values) {
        file.write_all(&value.to_le_bytes())?;
    }
    file.flush()
}

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).expect("usage: trace_writer FILE");
    let embd = [0.5, -1.0, 2.0, 0.0, 1.0, 0.25, -3.0, 8.0];
    let logits = [1.0, 2.0, 3.0, -1.0, 0.0, 1.5];
    let tensors = [
        Tensor { name: "embd", values: &embd, rows: 2 },
        Tensor { name: "logits", values: &logits, rows: 2 },
    ];
    write_trace(&path, "example 1.0", &[504, 3575], &tensors)
}
