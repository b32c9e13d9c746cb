// Records what a model of candle computes (docs/recorders.md). candle has no hooks: the model's forward calls `keep` after
// each operation, with the names of docs/trace-format.md or its own. Not built where assay is tested: no registry of
// crates is reachable there.
//     cargo add candle-core safetensors@0.4 serde_json     (the version of safetensors that candle uses)
use candle_core::{DType, Result, Tensor};
use std::collections::HashMap;

/// The calls of a model: ids and positions of each, and what was kept in it.
#[derive(Default)]
pub struct Recorder {
    steps: Vec<serde_json::Value>,
    order: Vec<usize>, // tensors of each step
    tensors: HashMap<String, Tensor>,
}

impl Recorder {
    /// A call of the model begins: its token ids, and the position of the first.
    pub fn begin(&mut self, tokens: &[u32], first: usize) {
        let positions: Vec<usize> = (first..first + tokens.len()).collect();
        self.steps.push(serde_json::json!({"tokens": tokens, "positions": positions}));
        self.order.push(0);
    }

    /// What an operation gave, (1, tokens, ...) or (tokens, ...), in its own type: recorder.keep("blk.0.q", &q)?
    pub fn keep(&mut self, name: &str, value: &Tensor) -> Result<()> {
        let value = if value.rank() > 2 && value.dim(0)? == 1 { value.squeeze(0)? } else { value.clone() };
        let key = format!("{:06}.{name}", self.tensors.len());
        // A copy: later operations may write where this one wrote.
        self.tensors.insert(key, value.contiguous()?.copy()?.to_device(&candle_core::Device::Cpu)?);
        *self.order.last_mut().expect("begin() comes first") += 1;
        Ok(())
    }

    /// `dtype`: the type that the model computes in, which declares its arithmetic.
    pub fn write(&self, path: &std::path::Path, dtype: DType) -> Result<()> {
        let contract = match dtype {
            DType::BF16 => "bf16",
            DType::F16 => "f16",
            _ => "f32",
        };
        let metadata = HashMap::from([
            ("format".to_string(), "assay.trace/1".to_string()),
            ("engine".to_string(), "candle".to_string()),
            ("steps".to_string(), serde_json::Value::from(self.steps.clone()).to_string()),
            ("order".to_string(), serde_json::json!(self.order).to_string()),
            ("contract".to_string(), contract.to_string()),
            ("kv".to_string(), contract.to_string()),
        ]);
        Ok(safetensors::serialize_to_file(&self.tensors, &Some(metadata), path)?)
    }
}

// In the model:
//     let q = self.q_proj.forward(&x)?;
//     recorder.keep(&format!("model.layers.{i}.q_proj"), &q)?;
// and then, where the names are the model's own:
//     assay trace names FILE -m FOLDER -o names.yaml && assay diff FILE -m FOLDER --names names.yaml
