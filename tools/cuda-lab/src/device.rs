//! What CubeCL knows of an NVIDIA card, and its compiler to CUDA C++: `cubecl-cuda` 0.11.3's
//! `src/runtime.rs` with the values of a real device.

use cubecl_common::profile::TimingMethod;
use cubecl_core::{
    cmma::MatrixLayout,
    ir::{
        ContiguousElements, DeviceIdentity, DeviceProperties, ElemType, FloatKind,
        HardwareProperties, MemoryDeviceProperties, MmaProperties, OpaqueType, TargetProperties,
        Type, VectorSize,
        features::{AtomicUsage, Plane, Tma, TypeUsage},
        settings::Dim3,
    },
};
use cubecl_cpp::{
    ComputeKernel,
    cuda::{
        self,
        arch::CudaArchitecture,
        mma::{CudaCmmaCompiler, manual::contiguous_elements_cuda},
    },
    register_supported_types,
    shared::{
        CompilationOptions, CppCompiler, CppSupportedFeatures, register_mma_features,
        register_wmma_features,
    },
    target::Cuda,
};
use cubecl_runtime::kernel::{CubeKernel, define_kernel};
use cubecl_server::compiler::Compiler;

/// `cubecl-cuda`'s compilation options for a compute capability (80, 90, ...).
pub fn options(arch: u32) -> CompilationOptions {
    CompilationOptions {
        warp_size: 32,
        supports_features: CppSupportedFeatures {
            fast_math: true,
            dp4a: arch >= 61,
            grid_constants: arch >= 70,
            fast_tanh: arch >= 75,
            clusters: arch >= 90,
            elect_sync: arch >= 90,
        },
        ..Default::default()
    }
}

pub fn target_properties() -> TargetProperties {
    TargetProperties {
        mma: MmaProperties {
            register_size_bits: 32,
            const_plane_size: 32,
            register_layout_a: MatrixLayout::RowMajor,
            register_layout_b: MatrixLayout::ColMajor,
            register_layout_acc: MatrixLayout::RowMajor,
            register_duplication_a: 1,
            register_duplication_b: 1,
            register_duplication_acc: 1,
            contiguous_elements: ContiguousElements::new(contiguous_elements_cuda),
        },
    }
}

pub fn device_properties(arch: u32) -> DeviceProperties {
    let cuda_arch = CudaArchitecture {
        version: arch,
        tensor_cores: true,
    };
    let mem = MemoryDeviceProperties::new(16 << 30, 512).with_max_memory(64 << 30);
    let hardware = HardwareProperties {
        load_width: 128,
        vector_register_count: None,
        plane_size_min: 32,
        plane_size_max: 32,
        max_bindings: 512,
        // CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: A100 163 KiB, H100 227 KiB, 86/89 99 KiB.
        max_shared_memory_size: match arch {
            80 | 87 => 166912,
            90.. => 232448,
            _ => 101376,
        },
        max_cube_count: (2147483647, 65535, 65535),
        max_units_per_cube: 1024,
        max_cube_dim: (1024, 1024, 64),
        num_streaming_multiprocessors: Some(108),
        num_tensor_cores: Some(4),
        min_tensor_cores_dim: Some(8),
        num_cpu_cores: None,
        last_level_cache_size: None,
        max_vector_size: VectorSize::MAX,
        cube_mma_reserved_shared_memory: 0,
    };
    let mut props = DeviceProperties::new(
        Default::default(),
        mem,
        hardware,
        TimingMethod::System,
        DeviceIdentity {
            name: format!("emulated sm_{arch}"),
            fingerprint: format!("ptx_sm{arch}"),
            physical: None,
        },
    );
    register_supported_types(&mut props);
    props.register_atomic_type_usage(
        Type::atomic(ElemType::Float(FloatKind::F64)),
        AtomicUsage::Add | AtomicUsage::LoadStore | AtomicUsage::Exchange,
    );
    props.register_opaque_type(OpaqueType::Barrier);
    props.features.plane.insert(Plane::Sync);
    props.features.plane.insert(Plane::Ops);
    props.features.plane.insert(Plane::NonUniformControlFlow);
    for kind in [FloatKind::F16, FloatKind::BF16] {
        props.features.matmul.ldmatrix.insert(ElemType::Float(kind));
        if arch >= 90 {
            props.features.matmul.stmatrix.insert(ElemType::Float(kind));
        }
    }
    if arch >= 80 {
        props.register_type_usage(ElemType::Float(FloatKind::TF32), TypeUsage::Conversion);
        props.features.copy_async = true;
    }
    if arch >= 90 {
        props.features.tma.insert(Tma::Base);
        props.register_opaque_type(OpaqueType::TensorMap);
        props.features.cube_cluster = true;
    }
    props.features.memory_reinterpret = true;
    props.features.alignment = true;
    props.features.device_memory_scope = true;
    register_wmma_features(
        CudaCmmaCompiler::Cpp.supported_cmma_combinations(&cuda_arch),
        &mut props,
    );
    register_mma_features(cuda::supported_mma_combinations(&cuda_arch), &mut props);
    props
}

pub struct CudaSource {
    pub entry: String,
    pub cube_dim: Dim3,
    pub kernel: ComputeKernel,
}

/// Compile a kernel struct (from a launch, or from the macro's `create_dummy_kernel`) to CUDA C++.
pub fn compile(kernel: &dyn CubeKernel, arch: u32) -> Result<CudaSource, String> {
    let definition = define_kernel(kernel).map_err(|e| format!("{e}"))?;
    let entry = definition.settings.kernel_name.clone();
    let cube_dim = definition.settings.cube_dim;
    let kernel = CppCompiler::<Cuda>::default()
        .compile(definition, &options(arch))
        .map_err(|e| format!("{e}"))?;
    Ok(CudaSource {
        entry: entry.to_string(),
        cube_dim,
        kernel,
    })
}
