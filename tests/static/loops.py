"""The loops of a function in an object file: objdump's text, the flow graph, and what stands in a loop."""

import functools
import re
import subprocess
from typing import NamedTuple

# Multiply-adds; an integer one may be followed by the addition that completes it.
FUSED = re.compile(r"vfn?m(?:add|sub)\d|vpdp(?:bu|ws)|vdpbf16")
PRODUCT = re.compile(r"vpmaddubsw|vpmaddwd|vpmull[dwq]")
PADDING = re.compile(r"(?:data16|cs|nop\w*|xchg\s+%ax,%ax)\b")
NO_ACCESS = re.compile(r"lea|nop|prefetch")
MOVE = re.compile(r"(?:v?mov[a-z0-9]*|kmov[bwdq])\s+%\w+,%\w+$")
STORE = re.compile(r"(?!cmp|test|v?u?comi)\w+\s+[^(]*,[^,(]*\([^)]*\)(?:\{%k\d\})?$")
# Spilled values stand at fixed places; what an index register selects is an array that the kernel means.
STACK_POINTER, FRAME_POINTER = re.compile(r"\(%rsp\)"), re.compile(r"\(%rbp\)")
# Writes that keep %rbp a frame pointer, and those that make it a register like the others.
FRAME_SET = re.compile(r"mov\s+%rsp,%rbp$")
FRAME_REUSED = re.compile(r"(?!cmp|test|push)\w+\s+(?:.*,)?%[er]?bp$")


class Instruction(NamedTuple):
    address: int
    text: str  # mnemonic and operands, without symbols and comments

    @property
    def target(self):
        match = re.match(r"j\w+\s+([0-9a-f]+)$", self.text)
        return int(match[1], 16) if match else None

    @property
    def leaves(self):
        """Whether the next instruction is not reached from this one."""
        return bool(re.match(r"(?:notrack )?jmp|(?:bnd |rep |repz )?ret|ud2|hlt", self.text))


@functools.cache
def functions(path):
    """{name: instructions} of an object file."""
    command = ["objdump", "-d", "-w", "--no-show-raw-insn", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found, current = {}, []
    for line in text.splitlines():
        if header := re.match(r"[0-9a-f]+ <(\S+)>:$", line):
            current = found.setdefault(header[1], [])
        elif match := re.match(r"\s*([0-9a-f]+):\t(.*)", line):
            current.append(Instruction(int(match[1], 16), re.sub(r"\s*(?:<[^>]*>|#).*", "", match[2]).strip()))
    return found


def blocks(code):
    """Basic blocks as ranges of indices into code, and the successors of each."""
    index = {instruction.address: i for i, instruction in enumerate(code)}
    starts = {0}
    for i, instruction in enumerate(code):
        if instruction.target is not None or instruction.leaves:
            starts.add(i + 1)
            if instruction.target in index:
                starts.add(index[instruction.target])
    starts = sorted(start for start in starts if start < len(code))
    ranges = [range(start, end) for start, end in zip(starts, [*starts[1:], len(code)])]
    number = {block.start: n for n, block in enumerate(ranges)}
    successors = []
    for n, block in enumerate(ranges):
        last, following = code[block[-1]], []
        if last.target in index:
            following.append(number[index[last.target]])
        if not last.leaves and n + 1 < len(ranges):
            following.append(n + 1)
        successors.append(following)
    # A switch jumps through a table in other sections: to every block that nothing else leads to.
    reached = {0, *(other for following in successors for other in following)}
    for n, block in enumerate(ranges):
        if re.match(r"(?:notrack )?jmp\s+\*", code[block[-1]].text):
            successors[n] = [other for other in range(len(ranges)) if other not in reached]
    return ranges, successors


def dominators(successors):
    """The immediate dominator of each block that is reached from the first, which is its own."""
    order, seen, stack = [], {0}, [(0, iter(successors[0]))]
    while stack:
        block, rest = stack[-1]
        following = next((other for other in rest if other not in seen), None)
        if following is None:
            order.append(block)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(successors[following])))
    rank = {block: n for n, block in enumerate(order)}  # post-order: the first block last
    predecessors = {block: [] for block in order}
    for block in order:
        for other in successors[block]:
            predecessors[other].append(block)
    above, changed = {0: 0}, True
    while changed:
        changed = False
        for block in reversed(order[:-1]):
            best = None
            for other in predecessors[block]:
                if other not in above:
                    continue
                while best is not None and other != best:
                    if rank[other] < rank[best]:
                        other = above[other]
                    else:
                        best = above[best]
                best = other
            if above.get(block) != best:
                above[block], changed = best, True
    return above, predecessors


def inner_loops(code):
    """The natural loops that contain no other loop and call nothing, as lists of instructions in order."""
    ranges, successors = blocks(code)
    above, predecessors = dominators(successors)
    bodies = {}
    for block in above:
        for head in successors[block]:
            upper = block
            while upper not in (head, 0):
                upper = above[upper]
            if upper != head:
                continue  # a jump back into the middle of something
            body, todo = bodies.setdefault(head, {head}), [block]
            while todo:
                if (other := todo.pop()) not in body:
                    body.add(other)
                    todo += predecessors[other]
    for head, body in bodies.items():
        if not any(other in body for other in bodies if other != head):
            inner = [code[i] for block in sorted(body) for i in ranges[block]]
            if not any(instruction.text.startswith("call") for instruction in inner):
                yield inner


def has_frame(code):
    """Whether %rbp points into the stack for the whole function."""
    texts = [instruction.text for instruction in code]
    setters = [text for text in texts if FRAME_REUSED.match(text) and not re.match(r"pop\s|leave", text)]
    return bool(setters) and all(FRAME_SET.match(text) for text in setters)


def count(body, frame):
    """What stands in a loop, as {what: how many}."""
    texts = [instruction.text for instruction in body if not PADDING.match(instruction.text)]
    bare = [re.sub(r"^\{\w+\}\s*", "", text) for text in texts]
    fused = sum(bool(FUSED.match(text)) for text in bare)
    products = [text.split()[0] for text in bare if PRODUCT.match(text)]
    if "vpmaddubsw" in products:  # the vpmaddwd behind it only adds its pairs
        products = [name for name in products if name != "vpmaddwd"]
    accesses = [text for text in bare if "(" in text and not NO_ACCESS.match(text)]
    stack = [text for text in accesses if STACK_POINTER.search(text) or (frame and FRAME_POINTER.search(text))]
    stores = [text for text in accesses if STORE.match(text)]
    return {
        "instructions": len(texts),
        "multiply_adds": fused + len(products),
        "loads": sum(text not in stack and text not in stores for text in accesses),
        "stores": sum(text not in stack for text in stores),
        "moves": sum(bool(MOVE.match(text)) for text in bare),
        "stack": len(stack),
    }


def mca_text(body):
    """A loop as llvm-mca reads it: without padding, all jumps to the label "anchor" (it follows none)."""
    texts = [instruction.text for instruction in body if not PADDING.match(instruction.text)]
    return "".join(re.sub(r"^(j\w+)\s+[0-9a-f]+$", r"\1 anchor", text) + "\n" for text in texts)
