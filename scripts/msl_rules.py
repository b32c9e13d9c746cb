"""The rules of Metal Shading Language that clang does not know, over the tokens and the syntax tree of a
flattened kernel file. scripts/msl_check.py runs them; docs/metal.md lists them with the specification's sections.
"""
import bisect
import dataclasses
import functools
import re

# What stands in no kernel, with the reason or what to write instead.
FORBIDDEN = {
    "double": "Metal has no double",
    "half": "half is a keyword, and kernels compute in float (k_f16_to_f32, k_f32_to_f16)",
    "bfloat": "bfloat is a keyword, and kernels compute in float (k_bf16_to_f32)",
    "char": "char has no fixed sign; write int8_t or uint8_t",
    "long": "long has no fixed size; write int64_t or uint64_t",
    "size_t": "size_t has no fixed size; write uint32_t or uint64_t",
    "ptrdiff_t": "ptrdiff_t has no fixed size; write int64_t",
    "wchar_t": "Metal has no wchar_t",
    "goto": "Metal has no goto",
    "virtual": "Metal has no virtual functions",
    "new": "Metal has no new",
    "delete": "Metal has no delete",
    "throw": "Metal has no exceptions",
    "try": "Metal has no exceptions",
    "catch": "Metal has no exceptions",
    "noexcept": "Metal has no noexcept",
    "dynamic_cast": "Metal has no type identification",
    "typeid": "Metal has no type identification",
    "register": "Metal has no register",
    "thread_local": "Metal has no thread_local",
    "asm": "assembly belongs into a device's words",
    "std": "Metal has no standard library of C++",
}
# Keywords and built-in names of Metal, OpenCL and CUDA: no identifier of a kernel.
RESERVED = set("""device constant thread threadgroup threadgroup_imageblock ray_data object_data coherent kernel vertex
    fragment sampler uint ushort uchar ulong local global private generic pipe read_only write_only read_write event_t
    threadIdx blockIdx blockDim gridDim warpSize""".split())
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|[A-Za-z_]\w*|\n', re.DOTALL)

SPACE_OF_WORD = {"K_DEV": 1, "device": 1, "K_CONST": 2, "constant": 2, "K_GROUP": 3, "threadgroup": 3}
SPACE_NAMES = {0: "thread", 1: "device", 2: "constant", 3: "threadgroup"}
ARGUMENT_SCALARS = {"float", "int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t", "int64_t", "uint64_t"}
FUNCTIONS = ("FunctionDecl", "CXXMethodDecl")
CASTS = ("CStyleCastExpr", "CXXReinterpretCastExpr", "CXXFunctionalCastExpr", "CXXStaticCastExpr", "CXXConstCastExpr",
         "ImplicitCastExpr")
CONSTRUCTORS = "a struct of a kernel has no constructors, destructors or initial values: it is bytes"
BAD_NODES = {
    "LambdaExpr": "Metal has no lambda",
    "CXXNewExpr": "Metal has no new",
    "CXXDeleteExpr": "Metal has no delete",
    "GotoStmt": "Metal has no goto",
    "StringLiteral": "a kernel has no text",
}


@dataclasses.dataclass
class Lines:
    """Where a place of the flattened text came from, by its #line directives."""
    starts: list      # byte offset of each line of the text
    places: list      # (file, line) of each

    @staticmethod
    def of(text):
        lines, offset, file, number = Lines([], []), 0, "", 0
        for line in text.split(b"\n"):
            lines.starts.append(offset)
            offset += len(line) + 1
            number += 1
            match = re.match(rb'#line (\d+) "([^"]+)"', line)
            if match:
                number, file = int(match.group(1)) - 1, match.group(2).decode()
            lines.places.append((file, number))
        return lines

    def at(self, offset):
        return self.places[bisect.bisect_right(self.starts, offset) - 1]


def token_errors(text, lines, exempt):
    """{(file, line, message)}: words that no kernel has; `exempt`: files that may have them."""
    errors = set()
    for match in TOKEN.finditer(text):
        word = match.group()
        message = FORBIDDEN.get(word)
        if word in RESERVED:
            message = f"'{word}' is a keyword of Metal, OpenCL or CUDA"
        if message:
            file, line = lines.at(len(text[:match.start()].encode()))
            if file not in exempt:
                errors.add((file, line, message))
    return errors


def normalise(node_type):
    """A printed type with @n for an address space and #n for a vector's length, without template arguments."""
    return normalise_text(node_type.get("desugaredQualType") or node_type.get("qualType", ""))


@functools.lru_cache(maxsize=None)
def normalise_text(text):
    text = re.sub(r"__attribute__\(\(address_space\((\d)\)\)\)", r"@\1", text)
    text = re.sub(r"__attribute__\(\(ext_vector_type\((\d+)\)\)\)", r"#\1", text)
    text = re.sub(r"\b(?:packed_)?(?:float|half|u?int|u?short|u?char|bool)3\b", "#3", text)
    text = re.sub(r"\b(" + "|".join(SPACE_OF_WORD) + r")\b", lambda m: f"@{SPACE_OF_WORD[m.group(1)]}", text)
    text = re.sub(r"\[[^][]*\]", "[]", text)
    while re.search(r"<[^<>]*>", text):
        text = re.sub(r"<[^<>]*>", "", text)
    return text


def space_of(text):
    found = re.search(r"@(\d)", text)
    return int(found.group(1)) if found else 0


def pointees(text):
    """The address space of what each * and & of a type points to, innermost first."""
    return [space_of(piece) for piece in re.split(r"&&|[*&]", text)[:-1]]


def outermost(text):
    """The part of a type after its last * or &: the object's own qualifiers."""
    return re.split(r"[*&]", text)[-1]


@dataclasses.dataclass
class Scope:
    function: str = ""      # the id of the function that encloses a node; "": none
    entry: bool = False     # that function is a kernel's entry


class Tree:
    """One walk over clang's tree; errors and what must be seen whole (calls, records)."""

    def __init__(self, lines, skipped):
        self.lines, self.skipped = lines, skipped
        self.errors = set()
        self.calls, self.names, self.first = {}, {}, {}   # by a function's id
        self.records = {}                                 # fields by a record's qualified name
        self.kernels = []                                 # (node, name, type of the arguments)

    def place(self, node):
        """(file, line), or None where clang gives no place."""
        for where in (node.get("loc"), (node.get("range") or {}).get("begin")):
            where = (where or {}).get("expansionLoc", where) or {}
            if "offset" in where:
                return self.lines.at(where["offset"])
        return None

    def fail(self, node, message):
        self.errors.add((*(self.place(node) or ("", 0)), message))

    def walk(self, node, scope, parent, path):
        kind = node.get("kind", "")
        if node.get("isImplicit") and kind != "CXXRecordDecl" or node.get("explicitlyDefaulted"):
            return
        if kind in BAD_NODES and parent.get("kind") != "StaticAssertDecl":
            self.fail(node, BAD_NODES[kind])
        if kind in FUNCTIONS:
            scope = self.function(node)
        elif kind in ("VarDecl", "ParmVarDecl", "FieldDecl"):
            self.declaration(node, scope, kind)
        elif kind in ("CXXConstructorDecl", "CXXDestructorDecl"):
            self.fail(node, CONSTRUCTORS)
        elif kind in CASTS:
            self.cast(node, parent)
        elif kind == "FloatingLiteral" and node["type"]["qualType"] == "double":
            self.fail(node, "a literal without f is a double")
        elif kind in ("DeclRefExpr", "MemberExpr") and scope.function:
            self.calls.setdefault(scope.function, set()).add(
                node.get("referencedMemberDecl") or node.get("referencedDecl", {}).get("id"))
        elif kind in ("CXXRecordDecl", "ClassTemplateSpecializationDecl"):
            self.record(node, path)
        if kind in ("NamespaceDecl", "CXXRecordDecl") and node.get("name"):
            path = path + [node["name"]]
        for child in node.get("inner", ()):
            if parent or (self.place(child) or (None,))[0] not in self.skipped:
                self.walk(child, scope, node, path)

    def function(self, node):
        identity = node["id"]
        self.names[identity] = (node, node.get("name", ""))
        self.first[identity] = self.first.get(node.get("previousDecl"), identity)
        result = normalise(node["type"]).split("(")[0]
        entry = marked(node) and result.strip() == "void"    # K_KERNEL's
        if not entry:
            self.spaces(node, result)
        if "double" in result:
            self.fail(node, "Metal has no double")
        if node.get("variadic"):
            self.fail(node, "Metal has no functions of any number of arguments")
        if entry:
            arguments = next(child for child in node["inner"] if child["kind"] == "ParmVarDecl")
            self.kernels.append((node, node["name"], normalise(arguments["type"])))
        return Scope(identity, entry)

    def spaces(self, node, text):
        """Errors of a declared type: each pointee has a space, one of them may be marked `thread`."""
        if re.search(r"\(\s*[*&][^()]*\)\s*\(|::\*", text):
            self.fail(node, "kernels have no pointers to functions or members")
            return
        if pointees(text).count(0) > (1 if marked(node) else 0):
            self.fail(node, "a pointer or reference without an address space (K_DEV, K_CONST, K_GROUP or K_THREAD)")
        if any("#3" in piece for piece in re.split(r"[*&]", text)[:-1]):
            self.fail(node, "a vector of three in memory: its size is four")

    def declaration(self, node, scope, kind):
        text = normalise(node["type"])
        self.spaces(node, text)
        if re.search(r"\bdouble\b", text):
            self.fail(node, "Metal has no double")
        if node.get("hasInClassInitializer"):
            self.fail(node, CONSTRUCTORS)
        if kind == "FieldDecl" and "#3" in text:
            self.fail(node, "a vector of three in memory: its size is four")
        if kind != "VarDecl":
            return
        if space_of(outermost(text)) == 3:
            if not scope.entry:
                self.fail(node, "a threadgroup variable outside a kernel's entry; make it a field of Shared")
        elif scope.function and node.get("storageClass") == "static":
            self.fail(node, "Metal has no static locals; K_TABLE at program scope")
        elif not scope.function and space_of(outermost(text)) != 2:
            self.fail(node, "a variable of program scope is not in constant space (K_TABLE)")

    def cast(self, node, parent):
        kind, text = node.get("castKind", ""), normalise(node["type"])
        if kind == "FunctionToPointerDecay" and parent.get("kind") not in ("CallExpr", "CXXOperatorCallExpr"):
            self.fail(node, "kernels have no pointers to functions or members")
        if node["kind"] == "ImplicitCastExpr" or not node.get("inner"):
            if kind == "AddressSpaceConversion":
                self.fail(node, "a cast between address spaces")
            return
        source = node["inner"][-1]
        before, after = pointees(normalise(source.get("type", {}))), pointees(text)
        if node.get("valueCategory") == "lvalue":    # to a reference
            before, after = [space_of(outermost(normalise(source["type"])))], [space_of(outermost(text))]
        if after and kind not in ("NullToPointer", "Dependent", "NoOp", "ConstructorConversion"):
            if kind == "IntegralToPointer":
                self.fail(node, "a cast of an integer to a pointer")
            elif before[-1:] != after[-1:]:
                self.fail(node, f"a cast between address spaces, {' '.join(SPACE_NAMES[s] for s in before[-1:])} to "
                                f"{SPACE_NAMES[after[-1]]}")

    def record(self, node, path):
        if node.get("bases"):
            self.fail(node, "Metal has no derived classes")
        fields = [child for child in node.get("inner", ()) if child["kind"] == "FieldDecl"]
        if node.get("completeDefinition"):
            self.records["::".join(path + [node.get("name", "")])] = fields

    def recursion(self):
        """Marks each function that can call itself."""
        graph = {}
        for caller, called in self.calls.items():
            known = {self.first[identity] for identity in called if identity in self.first}
            graph.setdefault(self.first.get(caller, caller), set()).update(known)
        for start in graph:
            reached, waiting = set(), list(graph[start])
            while waiting:
                function = waiting.pop()
                if function not in reached:
                    reached.add(function)
                    waiting.extend(graph.get(function, ()))
            if start in reached and start in self.names:
                node, name = self.names[start]
                self.fail(node, f"'{name}' calls itself; kernels have no recursion")

    def arguments(self, kernel, name, seen):
        """The fields of a kernel's arguments are of one size and meaning on every machine."""
        for field in self.records.get(name, ()):
            written = re.sub(r"\[[^][]*\]|\bconst\b", "", field["type"]["qualType"]).strip()
            text = normalise_text(written)
            base = re.sub(r"@\d|[*&]", "", text).strip()
            if field.get("isBitfield"):
                self.fail(field, f"a field of bits in the arguments of '{kernel}'")
            if "&" in text or any(space not in (1, 2) for space in pointees(text)):
                self.fail(field, f"a field of the arguments of '{kernel}' points to no device or constant memory")
            if base in ARGUMENT_SCALARS:
                continue
            record = next((known for known in self.records if known == base or known.endswith("::" + base)), None)
            if record is None:
                self.fail(field, f"'{base}' in the arguments of '{kernel}' is not float, intN_t, uintN_t or a struct "
                                 "of these")
            elif record not in seen:
                self.arguments(kernel, record, seen | {record})


def marked(node):
    """Whether a declaration has the stand-in's mark: `thread`, or `kernel` on a function that gives nothing."""
    return any(child.get("kind") == "AnnotateAttr" for child in node.get("inner", ()))


def tree_errors(tree, lines, skipped):
    """({(file, line, message)}, {kernel: its place}) of clang's tree; `skipped`: the stand-in's files."""
    whole = Tree(lines, skipped)
    whole.walk(tree, Scope(), {}, [])
    whole.recursion()
    names = [name for _, name, _ in whole.kernels]
    for node, name, text in whole.kernels:
        if names.count(name) > 1:
            whole.fail(node, f"two kernels are named '{name}'; Metal overloads none")
        record = re.sub(r"@\d|[*&]|\bconst\b", "", text).strip()
        if record not in whole.records:
            whole.fail(node, f"the arguments of '{name}' are no struct")
        whole.arguments(name, record, {record})
    return whole.errors, {name: whole.place(node) for node, name, _ in whole.kernels}
