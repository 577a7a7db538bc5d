//! The server behind the client: it compiles each launched kernel to CUDA C++, writes the source,
//! and, if it is to run it, has `emulator/emulate.py` build it for the CPU and calls that.

use std::{
    collections::HashMap,
    ffi::{CString, c_void},
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use cubecl_common::{
    bytes::Bytes,
    device::{DeviceId, DeviceService, ServerUtilitiesHandle, ServiceId},
    profile::ProfileDuration,
};
use cubecl_core::ir::settings::Dim3;
use cubecl_environment::{backtrace::BackTrace, future::DynFut, stream::StreamId};
use cubecl_runtime::{
    client::Client,
    dry_run::LaunchMode,
    id::KernelId,
    kernel::CubeKernel,
    logging::ServerLogger,
    memory_management::{
        ManagedMemoryHandle, ManagedMemoryId, MemoryAllocationMode, StreamMemoryReport,
    },
    server::*,
    storage::ManagedResource,
};
use cubecl_server::{allocator::ContiguousMemoryLayoutPolicy, storage::BytesStorage};

use crate::device::{compile, device_properties, target_properties};

const EMULATOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/emulator/emulate.py");

/// The device of this process.
pub struct Lab {
    /// The compute capability it claims: 80, 86, 89 or 90.
    pub arch: u32,
    /// Where the sources go.
    pub sources: PathBuf,
    /// Where the emulator keeps what it has built; without it no kernel runs.
    pub builds: Option<PathBuf>,
}

static LAB: OnceLock<Lab> = OnceLock::new();
static LABEL: Mutex<String> = Mutex::new(String::new());
static ORDER: AtomicU32 = AtomicU32::new(0);

/// A client of the device, an ordinary one: the kernels' launch functions work unchanged.
///
/// # Panics
///
/// If this process has one.
pub fn client(lab: Lab) -> Client {
    std::fs::create_dir_all(&lab.sources).unwrap();
    assert!(LAB.set(lab).is_ok(), "one device a process");
    Client::load::<LabServer>(DeviceId {
        type_id: 0,
        index_id: 0,
    })
}

/// What the names of the sources of kernels compiled from here on begin with.
pub fn set_label(label: String) {
    *LABEL.lock().unwrap() = label;
}

/// In which order threads run and copies land: see `emulator/cuda_emu.h`.
pub fn set_order(order: u32) {
    ORDER.store(order, Ordering::SeqCst);
}

/// Page-mapped, with its end against an inaccessible page.
struct Buffer {
    base: *mut u8,
    mapped: usize,
    ptr: *mut u8,
    len: usize,
}
unsafe impl Send for Buffer {}

impl Buffer {
    fn new(len: usize) -> Self {
        const PAGE: usize = 4096;
        let used = len.next_multiple_of(16).max(16);
        let mapped = used.next_multiple_of(PAGE) + PAGE;
        unsafe {
            let base = libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            ) as *mut u8;
            assert_ne!(base as isize, -1, "mmap of {mapped} bytes failed");
            libc::mprotect(
                base.add(mapped - PAGE) as *mut c_void,
                PAGE,
                libc::PROT_NONE,
            );
            let ptr = base.add(mapped - PAGE - used);
            // NaN in every float type: unwritten output is visible.
            std::ptr::write_bytes(ptr, 0xff, used);
            Buffer {
                base,
                mapped,
                ptr,
                len,
            }
        }
    }
}
impl Drop for Buffer {
    fn drop(&mut self) {
        unsafe { libc::munmap(self.base as *mut c_void, self.mapped) };
    }
}

type Launch = unsafe extern "C" fn(*const u32, *const u32, usize, *const *const c_void, u32) -> i32;

struct Loaded {
    entry: String,
    cube_dim: Dim3,
    shared: usize,
    launch: Option<Launch>,
}

struct LabServer {
    lab: &'static Lab,
    buffers: HashMap<ManagedMemoryId, Buffer>,
    handles: HashMap<ManagedMemoryId, ManagedMemoryHandle>,
    kernels: HashMap<KernelId, Result<Arc<Loaded>, String>>,
    failed: Option<String>,
    utilities: Arc<ServerUtilities>,
}

impl core::fmt::Debug for LabServer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "LabServer(sm_{})", self.lab.arch)
    }
}

impl DeviceService for LabServer {
    fn init(device_id: DeviceId) -> Self {
        let lab = LAB.get().expect("`client` has set it");
        let (utilities, _captures) = ServerUtilities::init(
            ServiceId::of::<Self>(device_id),
            "cuda",
            device_properties(lab.arch),
            target_properties(),
            Arc::new(ServerLogger::default()),
            // 512 on CUDA; 16 puts the inaccessible page right behind each buffer.
            ContiguousMemoryLayoutPolicy::new(16),
        );
        LabServer {
            lab,
            buffers: HashMap::new(),
            handles: HashMap::new(),
            kernels: HashMap::new(),
            failed: None,
            utilities: Arc::new(utilities),
        }
    }
    fn utilities(&self) -> ServerUtilitiesHandle {
        self.utilities.clone() as ServerUtilitiesHandle
    }
}

fn generic(reason: impl Into<String>) -> ServerError {
    ServerError::Generic {
        reason: reason.into(),
        backtrace: BackTrace::capture(),
    }
}

impl LabServer {
    fn resolve(&self, b: &BufferBinding) -> Result<(*mut u8, usize), ServerError> {
        let buffer = self
            .buffers
            .get(&b.memory.id())
            .ok_or_else(|| generic("buffer was never allocated"))?;
        let start = b.offset_start.unwrap_or(0) as usize;
        let end = b.offset_end.unwrap_or(0) as usize;
        let len = (b.size as usize).min(buffer.len) - start - end;
        Ok((unsafe { buffer.ptr.add(start) }, len))
    }

    /// Compiles, writes the source and, to run it, builds it.
    fn load(&mut self, kernel: &dyn CubeKernel) -> Result<Loaded, String> {
        let source = compile(kernel, self.lab.arch)?;
        // The entry's name ends in a hash of the kernel's id: comptime arguments, types, cube dim.
        let name = format!("{}{}.cu", LABEL.lock().unwrap(), source.entry);
        let path = self.lab.sources.join(name);
        let Dim3 { x, y, z } = source.cube_dim;
        let shared = source.kernel.shared_memory_size;
        let text = format!(
            "// units {}\n// shared {shared}\n{}",
            x * y * z,
            source.kernel.source
        );
        std::fs::write(&path, text).map_err(|e| e.to_string())?;
        let launch = match &self.lab.builds {
            None => None,
            Some(builds) => {
                let out = Command::new("python3")
                    .arg(EMULATOR)
                    .args([&path, builds])
                    .output()
                    .map_err(|e| e.to_string())?;
                let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
                if !out.status.success() {
                    let why = said(&out.stderr);
                    return Err(format!("emulator build of {}: {why}", path.display()));
                }
                let library = CString::new(said(&out.stdout)).unwrap();
                // SAFETY: the emulator's library exports `emu_launch` of this type.
                unsafe {
                    let library = libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
                    if library.is_null() {
                        let why = std::ffi::CStr::from_ptr(libc::dlerror());
                        return Err(format!("dlopen: {why:?}"));
                    }
                    let function = libc::dlsym(library, c"emu_launch".as_ptr());
                    Some(std::mem::transmute::<*mut c_void, Launch>(function))
                }
            }
        };
        Ok(Loaded {
            entry: source.entry,
            cube_dim: source.cube_dim,
            shared,
            launch,
        })
    }

    fn run(
        &mut self,
        kernel: Box<dyn CubeKernel>,
        count: CubeCount,
        bindings: KernelArguments,
    ) -> Result<(), String> {
        let id = kernel.id();
        if !self.kernels.contains_key(&id) {
            let loaded = self.load(&*kernel).map(Arc::new);
            self.kernels.insert(id.clone(), loaded);
        }
        let loaded = self.kernels[&id].clone()?;
        let (entry, shared) = (&loaded.entry, loaded.shared);
        let max = self.utilities.properties.hardware.max_shared_memory_size;
        if shared > max {
            return Err(format!(
                "{entry}: {shared} bytes of shared memory, {max} at most"
            ));
        }
        let Some(launch) = loaded.launch else {
            return Ok(());
        };
        let CubeCount::Static(x, y, z) = count else {
            return Err("dynamic cube counts are not emulated".into());
        };

        // Parameter order: buffers, then the dynamic metadata's pointer, then `info_st` by value
        // (cubecl-cuda 0.11.3, src/compute/server.rs, the branch with grid constants).
        let mut pointers: Vec<*mut u8> = Vec::new();
        for resource in bindings.resources.iter() {
            match resource {
                KernelResource::Buffer(b) => {
                    pointers.push(self.resolve(b).map_err(|e| e.to_string())?.0);
                }
                KernelResource::TensorMap(_) => return Err("tensor maps are not emulated".into()),
            }
        }
        let info = &bindings.info;
        if info.dynamic_metadata_offset < info.data.len() {
            pointers.push(info.data[info.dynamic_metadata_offset..].as_ptr() as *mut u8);
        }
        let mut params: Vec<*const c_void> = pointers
            .iter()
            .map(|p| std::ptr::from_ref(p).cast())
            .collect();
        params.push(info.data.as_ptr().cast());

        let (grid, d) = ([x, y, z], loaded.cube_dim);
        let block = [d.x, d.y, d.z];
        let order = ORDER.load(Ordering::SeqCst);
        let errors = unsafe {
            launch(
                grid.as_ptr(),
                block.as_ptr(),
                shared,
                params.as_ptr(),
                order,
            )
        };
        match errors {
            0 => Ok(()),
            _ => Err(format!(
                "{entry}: the emulator reported {errors} errors, see stderr"
            )),
        }
    }

    fn status(&mut self) -> Result<(), ServerError> {
        match &self.failed {
            Some(reason) => Err(generic(reason.clone())),
            None => Ok(()),
        }
    }
}

impl Server for LabServer {
    fn logger(&self) -> Arc<ServerLogger> {
        self.utilities.logger.clone()
    }
    fn utilities(&self) -> Arc<ServerUtilities> {
        self.utilities.clone()
    }
    fn initialize_memory(
        &mut self,
        memory: ManagedMemoryHandle,
        size: u64,
        _s: StreamId,
    ) -> Result<(), ServerError> {
        // Dropped by their owners: only our own copy of the handle is left.
        let dead: Vec<_> = self
            .handles
            .iter()
            .filter(|(_, h)| h.is_free())
            .map(|(id, _)| *id)
            .collect();
        for id in dead {
            self.handles.remove(&id);
            self.buffers.remove(&id);
        }
        let id = memory.clone().binding().id();
        self.buffers.insert(id, Buffer::new(size as usize));
        self.handles.insert(id, memory);
        Ok(())
    }
    fn read(
        &mut self,
        descriptors: Vec<CopyDescriptor>,
        _s: StreamId,
    ) -> DynFut<Result<Vec<Bytes>, ServerError>> {
        let result = self.status().and_then(|()| {
            descriptors
                .iter()
                .map(|d| {
                    let (ptr, _) = self.resolve(&d.handle)?;
                    let len = d.shape.iter().product::<usize>() * d.elem_size;
                    let data = unsafe { std::slice::from_raw_parts(ptr, len) };
                    Ok(Bytes::from_bytes_vec(data.to_vec()))
                })
                .collect()
        });
        Box::pin(async move { result })
    }
    fn write(&mut self, descriptors: Vec<(CopyDescriptor, Bytes)>, _s: StreamId) {
        for (d, data) in descriptors {
            match self.resolve(&d.handle) {
                Ok((ptr, _)) => unsafe {
                    std::ptr::copy_nonoverlapping(data.as_ptr(), ptr, data.len())
                },
                Err(e) => self.failed = Some(e.to_string()),
            }
        }
    }
    fn sync(&mut self, _h: Vec<BufferBinding>, _s: StreamId) -> DynFut<Result<(), ServerError>> {
        let r = self.status();
        Box::pin(async move { r })
    }
    fn check(&mut self, _h: Vec<BufferBinding>, _s: StreamId) -> Result<(), ServerError> {
        self.status()
    }
    unsafe fn launch(
        &mut self,
        kernel: Box<dyn CubeKernel>,
        count: CubeCount,
        bindings: KernelArguments,
        _s: StreamId,
        _m: LaunchMode,
    ) {
        if let Err(reason) = self.run(kernel, count, bindings) {
            eprintln!("launch failed: {reason}");
            self.failed.get_or_insert(reason);
        }
    }
    fn flush(&mut self, _s: StreamId) -> Result<(), ServerError> {
        self.status()
    }
    fn memory_report(&mut self, _s: StreamId) -> Option<StreamMemoryReport> {
        None
    }
    fn memory_cleanup(&mut self, _s: StreamId) -> Result<(), ServerError> {
        Ok(())
    }
    fn start_profile(&mut self, _s: StreamId) -> Result<ProfilingToken, ServerError> {
        Err(generic("the emulator has no clock worth reading"))
    }
    fn end_profile(
        &mut self,
        _s: StreamId,
        _t: ProfilingToken,
    ) -> Result<ProfileDuration, ProfileError> {
        unreachable!("none was started")
    }
    fn allocation_mode(&mut self, _m: MemoryAllocationMode, _s: StreamId) {}
}

impl ServerCommunication for LabServer {}

impl ServerStorage for LabServer {
    type Storage = BytesStorage;
    fn get_resource(
        &mut self,
        _b: BufferBinding,
        _s: StreamId,
    ) -> Result<
        ManagedResource<<BytesStorage as cubecl_runtime::storage::ComputeStorage>::Resource>,
        ServerError,
    > {
        Err(generic("not offered by the emulator"))
    }
}
