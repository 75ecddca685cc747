#include <doctest/doctest.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "elf/maps_parser.h"
#include "elf/module_map.h"

namespace {

using namespace pystack::elf;
using pystack::FileOffset;
using pystack::RemoteAddr;

std::string own_maps() {
    std::ifstream stream("/proc/self/maps");
    return {std::istreambuf_iterator<char>(stream), {}};
}

/// The begin addresses of each module's mappings, for comparing at a glance.
std::vector<std::vector<std::uint64_t>> shape(const std::vector<Module>& modules) {
    std::vector<std::vector<std::uint64_t>> result;
    for (const Module& module : modules) {
        result.emplace_back();
        for (const Mapping& mapping : module.mappings) {
            result.back().push_back(mapping.range.begin.value);
        }
    }
    return result;
}

using Shape = std::vector<std::vector<std::uint64_t>>;

Shape shape_of(std::string_view text) {
    return shape(group_modules(parse_maps(text)));
}

struct Segment {
    std::uint64_t offset;
    std::uint64_t address;
    std::uint64_t size;
    bool executable = false;
};

/// An ELF file of nothing but load segments.
std::shared_ptr<const ElfImage> image_of(std::initializer_list<Segment> segments) {
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_machine = kSupportedMachine;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = static_cast<Elf64_Half>(segments.size());
    std::string content(reinterpret_cast<const char*>(&header), sizeof header);
    for (const Segment& segment : segments) {
        Elf64_Phdr program{};
        program.p_type = PT_LOAD;
        program.p_flags = segment.executable ? PF_R | PF_X : PF_R;
        program.p_offset = segment.offset;
        program.p_vaddr = segment.address;
        program.p_filesz = program.p_memsz = segment.size;
        content.append(reinterpret_cast<const char*>(&program), sizeof program);
    }
    const int fd = memfd_create("module_map_test", MFD_CLOEXEC);
    REQUIRE(write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
    const auto image = ElfImage::open("/proc/self/fd/" + std::to_string(fd));
    close(fd);
    REQUIRE(image);
    return *image;
}

std::optional<std::uint64_t> bias_of(std::initializer_list<Segment> segments,
                                     std::string_view maps) {
    return compute_bias(*image_of(segments), parse_maps(maps));
}

}  // namespace

TEST_CASE("parse_maps reads each field") {
    const auto mappings = parse_maps(
        "7f0012345000-7f0012347000 r-xp 0000a000 fe:1f 338944                     /usr/lib/a "
        "b.so\n");
    REQUIRE(mappings.size() == 1);
    const Mapping& mapping = mappings[0];
    CHECK(mapping.range.begin == RemoteAddr{0x7f0012345000});
    CHECK(mapping.range.end == RemoteAddr{0x7f0012347000});
    CHECK(mapping.offset == FileOffset{0xa000});
    CHECK(mapping.device == makedev(0xfe, 0x1f));
    CHECK(mapping.inode == 338944);
    CHECK(mapping.readable);
    CHECK(!mapping.writable);
    CHECK(mapping.executable);
    CHECK(mapping.path == "/usr/lib/a b.so");
    CHECK(!mapping.deleted);
}

TEST_CASE("parse_maps keeps names as they are") {
    const auto path_of = [](const std::string& printed) {
        const auto mappings = parse_maps("1000-2000 rw-s 00000000 00:05 7 " + printed);
        REQUIRE(mappings.size() == 1);
        return mappings[0].path.str() + (mappings[0].deleted ? "|deleted" : "");
    };
    CHECK(path_of("") == "");
    CHECK(path_of("            /a  b ") == "/a  b ");
    CHECK(path_of("/new\\012line") == "/new\nline");
    CHECK(path_of("/back\\134slash") == "/back\\134slash");  // The kernel escapes newlines only.
    CHECK(path_of("/usr/bin/python (deleted)") == "/usr/bin/python|deleted");
    CHECK(path_of("/odd (deleted) (deleted)") == "/odd (deleted)|deleted");
    CHECK(path_of("/memfd:name (deleted)") == "/memfd:name|deleted");
    CHECK(path_of("/SYSV00000000 (deleted)") == "/SYSV00000000|deleted");
    CHECK(path_of("/dev/shm/x") == "/dev/shm/x");
    for (const char* name : {"[heap]", "[stack]", "[vdso]", "//anon", "anon_inode:[perf_event]"}) {
        CHECK(path_of(name) == name);
    }
}

TEST_CASE("parse_maps skips malformed lines and keeps the others") {
    const auto mappings = parse_maps(
        "\n"
        "not a mapping\n"
        "1000-2000\n"
        "2000-1000 r--p 00000000 00:00 0\n"
        "1000-1000 r--p 00000000 00:00 0\n"
        "11111111111111111-2000 r--p 00000000 00:00 0\n"
        "1000-2000 r-wp 00000000 00:00 0\n"
        "1000-2000 r--z 00000000 00:00 0\n"
        "1000-2000 r--p 00000000 0000 0\n"
        "1000-2000 r--p 00000000 00:00 x\n"
        "1000-2000 r--p 00000000 00:00 0/x\n"
        "-2000 r--p 00000000 00:00 0\n"
        "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"
        "1000-2000 ---p 00000000 00:00 0");
    REQUIRE(mappings.size() == 2);
    CHECK(mappings[0].path == "[vsyscall]");
    CHECK(mappings[1].path.empty());
    CHECK(parse_maps("").empty());
}

TEST_CASE("MapsParser takes any pieces, keeps a path once and cuts long ones") {
    const std::string text =
        "1000-2000 r--p 00000000 00:05 7 /" + std::string(80'000, 'd') +
        "\n2000-3000 r-xp 00001000 00:05 7 /usr/lib/a.so\n3000-4000 rw-p 00000000 00:00 0 \n"
        "4000-5000 rw-p 00002000 00:05 7 /usr/lib/a.so\n";
    for (const std::size_t size : {1UL, 7UL, 4096UL, text.size()}) {
        MapsParser parser;
        for (std::size_t at = 0; at < text.size(); at += size)
            REQUIRE(parser.add(text.substr(at, size)));
        const auto mappings = parser.finish();
        REQUIRE(mappings.size() == 4);
        CHECK(mappings[0].path.is_cut());
        CHECK(mappings[1].path == "/usr/lib/a.so");
        CHECK(&mappings[1].path.str() == &mappings[3].path.str());
    }
}

TEST_CASE("MapsParser keeps no more than it may") {
    MapsParser parser(3 * sizeof(Mapping) + 10);
    CHECK(parser.add(
        "1000-2000 r--p 00000000 00:05 7 /abcdefgh\n2000-3000 r--p 00001000 00:05 7 /abcdefgh\n"));
    CHECK_FALSE(parser.add("3000-4000 r--p 00000000 00:05 8 /other\n"));
    CHECK(parser.finish().size() == 2);
}

TEST_CASE("parse_maps survives random changes") {
    std::mt19937 random(20260101);
    const std::string text = own_maps();
    for (int round = 0; round < 500; ++round) {
        std::string changed = text.substr(0, random() % text.size());
        for (char& c : changed) {
            if (random() % 64 == 0) c = "0f -rwxp:\n\0\xff"[random() % 12];
        }
        const auto mappings = parse_maps(changed);
        for (const Mapping& mapping : mappings) CHECK(mapping.range.size() > 0);
        (void)group_modules(mappings);
    }
}

TEST_CASE("parse_maps, group_modules and compute_bias agree with the dynamic linker") {
    const std::string text = own_maps();
    const auto mappings = parse_maps(text);
    CHECK(mappings.size() == static_cast<std::size_t>(std::ranges::count(text, '\n')));
    const auto modules = group_modules(mappings);
    struct Context {
        const std::vector<Module>& modules;
        int compared = 0;
    } context{modules};
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* pointer) {
            auto& state = *static_cast<Context*>(pointer);
            const auto headers = reinterpret_cast<std::uint64_t>(info->dlpi_phdr);
            const Module* module = find_module(state.modules, RemoteAddr{headers});
            if (module == nullptr) return 0;  // The vdso is no file.
            const auto image = ElfImage::open(module->path);
            REQUIRE(image);
            CAPTURE(module->path);
            CHECK(compute_bias(**image, module->mappings) == info->dlpi_addr);
            for (const LoadSegment& segment : (*image)->load_segments()) {
                const RemoteAddr last{info->dlpi_addr + segment.address + segment.memory_size - 1};
                CHECK(find_module(state.modules, last) == module);
            }
            ++state.compared;
            return 0;
        },
        &context);
    CHECK(context.compared >= 1);

    struct stat status;
    REQUIRE(stat("/proc/self/exe", &status) == 0);
    static int object = 0;
    const RemoteAddr address{reinterpret_cast<std::uint64_t>(&object)};
    const Mapping* mapping = find_mapping(mappings, address);
    REQUIRE(mapping != nullptr);
    CHECK(mapping->writable);
    const Module* module = find_module(modules, address);
    REQUIRE(module != nullptr);
    CHECK(module->mappings.front().inode == status.st_ino);
    CHECK(find_module(modules, RemoteAddr{0}) == nullptr);
    CHECK(find_mapping(mappings, RemoteAddr{~0ull}) == nullptr);
    int local = 0;
    CHECK(find_module(modules, RemoteAddr{reinterpret_cast<std::uint64_t>(&local)}) == nullptr);
}

TEST_CASE("group_modules takes holes, .bss and moved text into the module") {
    CHECK(shape_of("10000-20000 r-xp 00000000 fe:00 1 /lib/a.so\n"
                   "20000-30000 ---p 00010000 fe:00 1 /lib/a.so\n"  // Its offset is past the next.
                   "30000-31000 r--p 0000f000 fe:00 1 /lib/a.so\n"
                   "31000-32000 rw-p 00010000 fe:00 1 /lib/a.so\n"
                   "32000-33000 rw-p 00000000 00:00 0 \n"
                   "33000-34000 rw-p 00000000 00:00 0 \n"
                   "34000-35000 ---p 00000000 00:00 0 \n"
                   "35000-36000 rw-p 00000000 00:00 0 \n") ==
          Shape{{0x10000, 0x20000, 0x30000, 0x31000, 0x32000, 0x33000}});
    // Code that was made at run time is no .bss, wherever it comes to lie.
    CHECK(shape_of("10000-20000 r-xp 00000000 fe:00 1 /lib/a.so\n"
                   "20000-21000 rw-p 00010000 fe:00 1 /lib/a.so\n"
                   "21000-22000 rwxp 00000000 00:00 0 \n") == Shape{{0x10000, 0x20000}});
    CHECK(shape_of("10000-20000 r--p 00000000 fe:00 1 /bin/a\n"
                   "20000-21000 r-xp 00010000 fe:00 1 /bin/a\n"
                   "21000-30000 r-xp 00000000 00:0f 9 /anon_hugepage (deleted)\n"
                   "30000-31000 r-xp 00020000 fe:00 1 /bin/a\n"
                   "31000-32000 rw-p 00021000 fe:00 1 /bin/a\n"
                   "32000-33000 rw-p 00000000 00:00 0 [heap]\n") ==
          Shape{{0x10000, 0x20000, 0x21000, 0x30000, 0x31000, 0x32000}});
    // Neither memory behind something read-only, nor memory with a gap before it.
    CHECK(shape_of("10000-20000 r--p 00000000 fe:00 1 /a\n"
                   "20000-21000 rw-p 00000000 00:00 0 \n"
                   "30000-31000 rw-p 00000000 fe:00 2 /b\n"
                   "32000-33000 rw-p 00000000 00:00 0 \n") == Shape{{0x10000}, {0x30000}});
    // A segment behind a gap, as patchelf adds them to executables.
    CHECK(shape_of("10000-20000 rw-p 00000000 fe:00 1 /a\n"
                   "20000-21000 rw-p 00000000 00:00 0 \n"
                   "23000-24000 rw-p 00000000 00:00 0 \n"
                   "30000-31000 r--p 00050000 fe:00 1 /a\n") == Shape{{0x10000, 0x20000, 0x30000}});
}

TEST_CASE("group_modules tells the copies of a file apart") {
    // The whole file twice, side by side.
    CHECK(shape_of("10000-11000 r-xp 00000000 fe:00 1 /a\n"
                   "11000-12000 rw-p 00001000 fe:00 1 /a\n"
                   "12000-13000 r-xp 00000000 fe:00 1 /a\n"
                   "13000-14000 rw-p 00001000 fe:00 1 /a\n") ==
          Shape{{0x10000, 0x11000}, {0x12000, 0x13000}});
    // libffi's trampolines: a page of the text again and again, each with data behind it.
    CHECK(shape_of("10000-11000 r-xp 00008000 fe:00 1 /ffi\n"
                   "11000-12000 rw-p 00000000 00:00 0 \n"
                   "12000-13000 r-xp 00008000 fe:00 1 /ffi\n"
                   "13000-14000 rw-p 00000000 00:00 0 \n"
                   "14000-16000 r--p 00000000 fe:00 1 /ffi\n"
                   "16000-19000 r-xp 00002000 fe:00 1 /ffi\n"
                   "19000-1a000 rw-p 0000a000 fe:00 1 /ffi\n"
                   "1a000-1b000 r-xp 00008000 fe:00 1 /ffi\n") ==
          Shape{{0x10000}, {0x12000}, {0x14000, 0x16000, 0x19000}, {0x1a000}});
    // Names, inodes and devices all count: a file that was replaced, a bind mount.
    CHECK(shape_of("10000-11000 r-xp 00000000 fe:00 1 /a\n"
                   "11000-12000 rw-p 00001000 fe:00 2 /a\n"
                   "12000-13000 rw-p 00002000 fe:01 2 /a\n"
                   "13000-14000 rw-p 00003000 fe:01 2 /b\n"
                   "14000-15000 rw-p 00004000 fe:01 2 /b (deleted)\n") ==
          Shape{{0x10000}, {0x11000}, {0x12000}, {0x13000}, {0x14000}});
    // A file smaller than a page has all its segments at offset 0.
    CHECK(shape_of("10000-11000 r-xp 00000000 fe:00 1 /tiny\n"
                   "11000-12000 rw-p 00000000 fe:00 1 /tiny\n") == Shape{{0x10000, 0x11000}});
}

TEST_CASE("group_modules leaves out what is no file and puts the rest in order") {
    CHECK(shape_of("50000-51000 rw-p 00000000 00:00 0 [heap]\n"
                   "60000-61000 r-xp 00000000 00:00 0 [vdso]\n"
                   "70000-71000 rw-s 00000000 00:01 3 /dev/zero (deleted)\n"
                   "80000-81000 rw-s 00000000 00:0e 3 anon_inode:[io_uring]\n"
                   "90000-91000 rw-p 00000000 00:00 0 //anon\n")
              .empty());
    const auto modules =
        group_modules(parse_maps("31000-32000 rw-p 00001000 fe:00 1 /a\n"
                                 "30800-30900 r--p 00000000 fe:00 2 /inside\n"
                                 "30000-31000 r-xp 00000000 fe:00 1 /a\n"
                                 "10000-11000 r-xp 00000000 00:01 5 /memfd:x (deleted)\n"));
    CHECK(shape(modules) == Shape{{0x10000}, {0x30000, 0x31000}});
    CHECK(modules[0].path == "/memfd:x");
    CHECK(modules[0].deleted);
    CHECK(modules[1].range().end == RemoteAddr{0x32000});
    CHECK(find_module(modules, RemoteAddr{0x30850}) == &modules[1]);
    CHECK(find_module(modules, RemoteAddr{0x11000}) == nullptr);
    CHECK(find_module(modules, RemoteAddr{0x32000}) == nullptr);
}

TEST_CASE("group_modules gives disjoint rising modules for any input") {
    std::mt19937 random(20260101);
    const char* const names[] = {"/a", "/b", "", "[heap]", "//anon"};
    for (int round = 0; round < 2000; ++round) {
        std::vector<Mapping> mappings(random() % 12);
        for (Mapping& mapping : mappings) {
            mapping.range.begin.value = random() % 16;
            mapping.range.end.value = random() % 20;
            mapping.offset.value = random() % 4;
            mapping.readable = random() % 2 != 0;
            mapping.writable = random() % 2 != 0;
            mapping.executable = random() % 2 != 0;
            mapping.path = names[random() % std::size(names)];
            if (random() % 50 == 0) mapping.range.end.value = ~0ull;
        }
        std::uint64_t end = 0;
        for (const Module& module : group_modules(mappings)) {
            REQUIRE(!module.mappings.empty());
            for (const Mapping& mapping : module.mappings) {
                CHECK(mapping.range.begin.value >= end);
                CHECK(mapping.range.size() > 0);
                end = mapping.range.end.value;
            }
        }
    }
}

TEST_CASE("compute_bias finds the one bias that the mappings agree on") {
    // The data shares its first page of the file with the end of the text.
    const std::initializer_list<Segment> usual = {
        {0, 0, 0x900}, {0x1000, 0x1000, 0x1e00, true}, {0x2df0, 0x3df0, 0x400}};
    CHECK(bias_of(usual,
                  "50000-51000 r--p 00000000 fe:00 1 /a\n"
                  "51000-53000 r-xp 00001000 fe:00 1 /a\n"
                  "53000-54000 r--p 00002000 fe:00 1 /a\n"
                  "54000-55000 rw-p 00003000 fe:00 1 /a\n") == 0x50000);
    CHECK(bias_of(usual, "53000-54000 rw-p 00002000 fe:00 1 /a\n") == 0x50000);
    CHECK(bias_of(usual,
                  "52000-53000 r-xp 00002000 fe:00 1 /a\n"
                  "53000-54000 rw-p 00002000 fe:00 1 /a\n") == 0x50000);
    // An executable at fixed addresses, with its headers not at 0.
    CHECK(bias_of({{0, 0x400000, 0x2000, true}, {0x2000, 0x603000, 0x100}},
                  "400000-402000 r-xp 00000000 fe:00 1 /a\n"
                  "603000-604000 rw-p 00002000 fe:00 1 /a\n") == 0);
    // Loaded below the addresses of its headers (prelink): the sum wraps around.
    CHECK(bias_of({{0, 0x400000, 0x2000}}, "1000-3000 r--p 00000000 fe:00 1 /a\n") ==
          std::uint64_t{0} - 0x3ff000);
    // Two segments in one page of the file.
    CHECK(bias_of({{0, 0, 0x800, true}, {0x800, 0x1800, 0x100}},
                  "70000-71000 r-xp 00000000 fe:00 1 /a\n"
                  "71000-72000 rw-p 00000000 fe:00 1 /a\n") == 0x70000);
    // A page out of the middle of the text.
    CHECK(bias_of({{0x1000, 0x1000, 0x8000, true}}, "90000-91000 r-xp 00004000 fe:00 1 /a\n") ==
          0x90000 - 0x4000);
}

TEST_CASE("compute_bias has no answer where no loader was at work") {
    const std::initializer_list<Segment> usual = {{0, 0, 0x900}, {0x1000, 0x1000, 0x1e00, true}};
    CHECK(!bias_of(usual, "50000-60000 r--p 00000000 fe:00 1 /a\n"));  // Mapped whole.
    CHECK(!bias_of(usual, "50000-51000 r--p 00008000 fe:00 1 /a\n"));
    CHECK(!bias_of(usual, "50000-51000 rw-p 00000000 00:00 0 \n"));
    CHECK(!bias_of(usual, ""));
    CHECK(!bias_of({}, "50000-51000 r--p 00000000 fe:00 1 /a\n"));
    CHECK(!bias_of({{0, 0x123, 0x900}}, "50000-51000 r--p 00000000 fe:00 1 /a\n"));
    CHECK(!bias_of({{~0ull - 8, 0, ~0ull}}, "50000-51000 r--p 00000000 fe:00 1 /a\n"));
    CHECK(!bias_of({{0, 0, 0}}, "50000-51000 r--p fffffffffffff000 fe:00 1 /a\n"));
}
