"""A CPU in software that calls functions of this process: the Bochs core (bochscpu-python) on the process's own memory.

The machine code of AVX-512 and AVX-VNNI kernels runs on CPUs without those instructions, kernel by kernel: a
guest page is the host's page of the same address, inserted when it is first touched, so pointers pass through
unchanged and an access outside every readable mapping (a guard page) is found.  No system calls and no threads
inside; only leaf functions go through it.
"""

import ctypes
import mmap

GIB = 1 << 30
PAGE = 4096
PAGE_TABLES = 1 << 37  # guest-physical; above every chunk that call() hands out
CALLEE_SAVED = ("rbx", "rbp", "r12", "r13", "r14", "r15")
PATTERN = 0x5B5B5B5B00000000
INVALID_OPCODE, PAGE_FAULT = 6, 14

# Numbers of Bochs' CPU models, and the newest instructions they have.
MODELS = {
    "skylake_x": 26,  # AVX-512 F BW DQ VL
    "icelake_u": 28,  # + VNNI
    "sapphire_rapids": 30,  # + BF16, AVX-VNNI
    "arrow_lake": 31,  # AVX2, AVX-VNNI, no AVX-512
}


class Fault(Exception):
    """What the emulated CPU met instead of the function's return."""


def readable_mappings():
    """(start, end) of every readable mapping of this process."""
    with open("/proc/self/maps") as file:
        fields = [line.split() for line in file]
    ranges = [(field[0].split("-"), field[1]) for field in fields if field[-1] != "[vsyscall]"]
    return [(int(start, 16), int(end, 16)) for (start, end), access in ranges if access.startswith("r")]


def load_bochs(shim):
    """The bindings; the wheel wants two symbols of glibc 2.38, which the shim has for older ones."""
    ctypes.CDLL(shim, ctypes.RTLD_GLOBAL)
    import bochscpu

    return bochscpu


class Cpu:
    """One emulated CPU; the model is fixed for the process."""

    def __init__(self, model, shim):
        self.bochs = load_bochs(shim)
        import bochscpu.cpu
        import bochscpu.memory

        self.memory = bochscpu.memory
        self._choose(model)
        self.session = self.bochs.Session()
        self.session.missing_page_handler = self._page_missing
        self.buffers = []  # keeps the pages below alive
        self.chunk_of_gib, self.gib_of_chunk, self.directories = {}, {}, {}
        self.top = self._pages(1)
        self.next_table = PAGE_TABLES
        self.top_physical = self._guest_table(self.top)
        stack_bytes = 1 << 20
        self.stack_top = self._pages(stack_bytes // PAGE) + stack_bytes - PAGE
        self.stop = self._pages(1)
        ctypes.memset(self.stop, 0xF4, PAGE)  # hlt: where the function returns to
        self.wrong, self.stray = None, []
        self.state = self._long_mode()
        self.hook = self.bochs.Hook()
        self.hook.exception = self._exception
        self.hook.hlt = lambda session, cpu: session.stop()
        self.refresh()

    def _choose(self, model):
        """Sets Bochs' parameter cpu.model, which the wheel exports but does not wrap."""
        library = ctypes.CDLL(self.bochs._bochscpu.__file__)
        find = library._ZN13bx_real_sim_c14get_param_enumEPKcP10bx_param_c
        find.restype, find.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        assign = library._ZN15bx_param_enum_c3setEl
        assign.argtypes = [ctypes.c_void_p, ctypes.c_long]
        assign(find(None, b"cpu.model", None), MODELS[model])

    def _pages(self, count):
        buffer = mmap.mmap(-1, count * PAGE)
        self.buffers.append(buffer)
        return ctypes.addressof(ctypes.c_char.from_buffer(buffer))

    def _guest_table(self, host):
        physical, self.next_table = self.next_table, self.next_table + PAGE
        self.memory.page_insert(physical, host)
        return physical

    def refresh(self):
        """Gives every GiB that holds a mapping a page-table entry; needed after new mappings were made."""
        self.mappings = readable_mappings()
        for start, end in self.mappings:
            for gib in range(start // GIB, (end - 1) // GIB + 1):
                if gib not in self.chunk_of_gib:
                    chunk = self.chunk_of_gib[gib] = len(self.chunk_of_gib) + 1
                    self.gib_of_chunk[chunk] = gib
                    if gib >> 9 not in self.directories:
                        self.directories[gib >> 9] = directory = self._pages(1)
                        entry = self._guest_table(directory) | 7
                        ctypes.c_uint64.from_address(self.top + 8 * (gib >> 9)).value = entry
                    large = chunk * GIB | 0x87  # present, writable, user, 1 GiB
                    ctypes.c_uint64.from_address(self.directories[gib >> 9] + 8 * (gib & 511)).value = large

    def _page_missing(self, physical):
        """First touch of a page: the host's page, or a stray one and the end of the run."""
        gib = self.gib_of_chunk.get(physical // GIB)
        address = None if gib is None else gib * GIB + physical % GIB // PAGE * PAGE
        if address is None or not any(start <= address < end for start, end in self.mappings):
            # An exception may not cross the emulator: note it and stop.
            self.wrong = self.wrong or ("memory", address or physical)
            address = self._pages(1)
            self.stray.append(physical // PAGE * PAGE)
            self.session.stop()
        self.memory.page_insert(physical // PAGE * PAGE, address)

    def _exception(self, session, cpu, vector, error):
        self.wrong = self.wrong or ("exception", vector)
        session.stop()

    def _segment(self, selector, attributes, base=0):
        segment = self.bochs.Segment()
        segment.present, segment.selector, segment.base = True, selector, base
        segment.limit, segment.attr = 0xFFFFFFFF, attributes
        return segment

    def _long_mode(self):
        state = self.bochs.State()
        self.bochs.cpu.set_long_mode(state)
        state.cr0, state.cr3, state.efer = 0x80050033, self.top_physical, 0xD01
        state.cr4 = 0x406A0 | 0x600  # OSXSAVE, OSFXSR, OSXMMEXCPT
        state.xcr0 = 0xE7  # the OS saves x87, SSE, AVX and AVX-512
        state.mxcsr_mask, state.fpcw, state.apic_base = 0xFFFF, 0x37F, 0xFEE00900
        thread = ctypes.c_uint64()
        ctypes.CDLL(None).syscall(158, 0x1003, ctypes.byref(thread))  # arch_prctl(ARCH_GET_FS)
        state.cs = self._segment(0x10, 0xA09B)
        state.ss = state.ds = state.es = state.gs = self._segment(0x18, 0xC093)
        state.fs = self._segment(0x18, 0xC093, thread.value)
        return state

    def call(self, address, arguments):
        """Runs the function at `address` with integer or pointer arguments; Fault unless it returns as the ABI asks."""
        state = self.state
        state.rflags, state.mxcsr, state.rax = 2, 0x1F80, 0x7F7F7F7F7F7F7F7F
        for register, value in zip(("rdi", "rsi", "rdx", "rcx", "r8", "r9"), arguments):
            setattr(state, register, value)
        for number, register in enumerate(CALLEE_SAVED):
            setattr(state, register, PATTERN + number)
        rest = arguments[6:]
        stack = (self.stack_top - 8 * len(rest)) & ~15
        for i, value in enumerate(rest):
            ctypes.c_uint64.from_address(stack + 8 * i).value = value
        ctypes.c_uint64.from_address(stack - 8).value = self.stop
        state.rsp, state.rip = stack - 8, address
        self.session.cpu.state = state
        self.wrong = None
        self.session.run([self.hook])
        after = self.session.cpu.state
        while self.stray:
            self.memory.page_remove(self.stray.pop())
        if self.wrong:
            raise Fault(self._describe(*self.wrong, after.rip - address))
        self._check_kept(after, stack)

    @staticmethod
    def _describe(kind, value, offset):
        if kind == "memory":
            return f"it touches {value:#x}, which is mapped nowhere, at offset {offset:#x} of the leaf"
        names = {INVALID_OPCODE: " (an instruction that this model lacks)", PAGE_FAULT: " (page fault)"}
        return f"exception {value}{names.get(value, '')} at offset {offset:#x} of the leaf"

    @staticmethod
    def _check_kept(after, stack):
        changed = [name for number, name in enumerate(CALLEE_SAVED) if getattr(after, name) != PATTERN + number]
        if after.rsp != stack:
            changed.append("rsp")
        if changed:
            raise Fault(f"the leaf changed {', '.join(changed)}")
        if after.mxcsr & 0xFFC0 != 0x1F80:
            raise Fault(f"the leaf changed MXCSR to {after.mxcsr:#x}")
        if after.rflags & 0x400:
            raise Fault("the leaf left the direction flag set")
        if any(any(list(register.q)[2:]) for register in list(after.zmm)[:16]):
            raise Fault("the leaf left upper halves of vector registers dirty (no vzeroupper)")
