#!/usr/bin/env python3
"""Compiles every variant of every kernel with NVIDIA's compilers and prints what each takes.

  compile.py PROGRAMS WORK [--arch 80,90]      PROGRAMS: where `variants` is; WORK: a folder for what it leaves:
                                               the sources, and the results, which are not made again for the same source

The way is that of cubecl-cuda 0.11.3 (src/compute/context.rs): NVRTC with --gpu-architecture=sm_NN (sm_NNa from 90
on) and no fast math makes PTX; the driver's ptxas, here the one of the toolkit, ends the job.
Ends with 1 if something does not compile, or if a tensor-core kernel spills registers.
"""
import argparse, collections, concurrent.futures, ctypes, glob, hashlib, json, os, re, shutil, subprocess, sys

site = glob.glob(os.path.join(sys.prefix, "lib/python3*/site-packages/nvidia"))[0]
INCLUDES = [f"{site}/{wheel}/include" for wheel in ("cuda_runtime", "cuda_nvcc", "cuda_cccl")]
PTXAS = f"{site}/cuda_nvcc/bin/ptxas"
VERSIONS = sorted(os.path.basename(path) for path in glob.glob(f"{site}/../nvidia_cuda_*.dist-info"))
NVRTC = ctypes.CDLL(glob.glob(f"{site}/cuda_nvrtc/lib/libnvrtc.so.*")[0])


def text(size_of, read, program):
    size = ctypes.c_size_t()
    size_of(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    read(program, buffer)
    return buffer.raw[: size.value].rstrip(b"\0")


def kept(path, arch, folder):
    """`compile_one`, or what it said of the same source before."""
    digest = hashlib.sha256(open(path, "rb").read() + f"{arch} {VERSIONS}".encode()).hexdigest()[:24]
    result = f"{folder}/{digest}.json"
    if os.path.exists(result):
        return json.load(open(result))
    compiled = compile_one(path, arch)
    if not isinstance(compiled, str):
        with open(f"{result}.part", "w") as f:
            json.dump(compiled, f)
        os.rename(f"{result}.part", result)
    return compiled


def compile_one(path, arch):
    """[registers, bytes spilled], or why not."""
    target = f"sm_{arch}a" if arch >= 90 else f"sm_{arch}"
    program = ctypes.c_void_p()
    NVRTC.nvrtcCreateProgram(ctypes.byref(program), open(path, "rb").read(), os.path.basename(path).encode(), 0, None, None)
    options = [f"--gpu-architecture={target}", "-lineinfo", *(f"--include-path={i}" for i in INCLUDES)]
    failed = NVRTC.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*map(str.encode, options)))
    log = text(NVRTC.nvrtcGetProgramLogSize, NVRTC.nvrtcGetProgramLog, program).decode()
    if failed:
        return f"NVRTC {failed}\n{log}"
    with open(f"{path[:-3]}.ptx", "wb") as f:
        f.write(text(NVRTC.nvrtcGetPTXSize, NVRTC.nvrtcGetPTX, program))
    NVRTC.nvrtcDestroyProgram(ctypes.byref(program))
    done = subprocess.run([PTXAS, "-v", f"-arch={target}", f"{path[:-3]}.ptx", "-o", f"{path[:-3]}.cubin"], capture_output=True, text=True)
    if done.returncode:
        return f"ptxas\n{done.stdout}{done.stderr}"
    said = done.stdout + done.stderr
    stores, loads = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", said).groups()
    return [int(re.search(r"Used (\d+) registers", said)[1]), int(stores) + int(loads)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("programs")
    parser.add_argument("work")
    parser.add_argument("--arch", default="80,90")
    a = parser.parse_args()
    archs = [int(arch) for arch in a.arch.split(",")]
    results_folder = f"{a.work}/compiled"
    os.makedirs(results_folder, exist_ok=True)
    folders = {arch: f"{a.work}/variants/sm_{arch}" for arch in archs}
    for folder in folders.values():
        shutil.rmtree(folder, ignore_errors=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        write = lambda arch: subprocess.run([f"{a.programs}/variants", str(arch), folders[arch]], check=True)
        list(pool.map(write, archs))
        jobs = [(path, arch) for arch in archs for path in sorted(glob.glob(f"{folders[arch]}/*.cu"))]
        results = list(pool.map(lambda job: kept(*job, results_folder), jobs))
    rows, failed = collections.defaultdict(dict), 0
    for (path, arch), result in zip(jobs, results):
        family, dtype, head_dim, entry = os.path.basename(path)[:-3].split(".")
        head = open(path).read(200)
        units, shared = (int(re.search(rf"^// {what} (\d+)", head, re.M)[1]) for what in ("units", "shared"))
        kernel = re.match(r"[a-z_]+?(?=_[a-z]_b?f\d\d_)", entry)[0]
        if isinstance(result, str):
            failed += 1
            print(f"FAILED {path}: {result}")
        else:
            spilled = family == "tensor_core" and result[1] > 0
            failed += spilled
            rows[family, kernel, dtype, int(head_dim), entry][arch] = (units, *result, shared, "!" if spilled else "")
    print(f"{'kernel':32}{'dtype':6}{'head_dim':>8}" + "".join(f"   {f'sm_{arch}: units':>12}{'regs':>5}{'spill':>6}{'shared':>7} " for arch in archs))
    for (family, kernel, dtype, head_dim, _), by_arch in sorted(rows.items()):
        line = f"{family + ' ' + kernel:32}{dtype:6}{head_dim:>8}"
        for arch in archs:
            units, registers, spill, shared, mark = by_arch.get(arch, ("", "", "", "", ""))
            line += f"   {units:>12}{registers:>5}{spill:>6}{shared:>7}{mark:1}"
        print(line)
    print(f"{len(jobs)} compiled, {failed} failed (an error, or spills on tensor cores)")
    sys.exit(failed > 0 or not jobs)


main()
