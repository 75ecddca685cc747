#include <doctest/doctest.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "elf/elf_image.h"

// Known symbols of this very program, compared with what the ELF reader says of it.
extern "C" {
__attribute__((used, noinline)) int pystack_elf_test_function() {
    return 4711;
}
__attribute__((used)) int pystack_elf_test_object[6] = {1};
__attribute__((used)) thread_local int pystack_elf_test_thread_local = 1;
}

namespace {

using pystack::ErrorCode;
using pystack::elf::ElfImage;
using Content = std::vector<unsigned char>;
using namespace std::string_literals;

/// A file in memory with a path of its own.
class MemoryFile {
  public:
    explicit MemoryFile(const Content& content) : fd_(memfd_create("elf_test", MFD_CLOEXEC)) {
        REQUIRE(fd_ >= 0);
        write(content.data(), content.size(), 0);
    }
    ~MemoryFile() { close(fd_); }
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;

    std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }
    void write(const void* data, std::size_t size, std::size_t offset) {
        REQUIRE(pwrite(fd_, data, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size));
    }
    void truncate(std::size_t size) { REQUIRE(ftruncate(fd_, static_cast<off_t>(size)) == 0); }

  private:
    int fd_;
};

constexpr std::size_t kBase = 0x10000;  // The address at which the small file is loaded.

template <class T>
std::size_t append(Content& content, const T& value) {
    while (content.size() % 8 != 0) content.push_back(0);
    const std::size_t offset = content.size();
    const auto* bytes = reinterpret_cast<const unsigned char*>(&value);
    content.insert(content.end(), bytes, bytes + sizeof value);
    return offset;
}

std::size_t append_text(Content& content, const std::string& text) {
    const std::size_t offset = content.size();
    content.insert(content.end(), text.begin(), text.end());
    return offset;
}

/// An ELF file of about a kilobyte with one of each thing the reader looks at, so that a random
/// change is likely to hit one.
struct SmallElf {
    Content content;
    std::size_t header = 0;
    std::size_t strings = 0;
    std::size_t strings_size = 0;
    std::size_t symbols = 0;
    std::size_t dynamic = 0;
    std::size_t sections = 0;
};

Elf64_Sym make_symbol(Elf64_Word name, unsigned char info, Elf64_Section section, Elf64_Addr at) {
    return {.st_name = name,
            .st_info = info,
            .st_other = 0,
            .st_shndx = section,
            .st_value = at,
            .st_size = 24};
}

SmallElf make_small_elf(bool gnu_hash) {
    SmallElf file;
    Content& content = file.content;
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_DYN;
    header.e_machine = pystack::elf::kSupportedMachine;
    header.e_ehsize = sizeof(Elf64_Ehdr);
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_phnum = 3;
    header.e_shnum = 6;
    header.e_shstrndx = 1;
    append(content, header);
    header.e_phoff = append(content, Elf64_Phdr{});
    append(content, Elf64_Phdr{});
    append(content, Elf64_Phdr{});

    struct {
        Elf64_Nhdr header{4, 4, NT_GNU_BUILD_ID};
        char name[4] = "GNU";
        unsigned char id[4] = {0xde, 0xad, 0xbe, 0x0f};
    } note;
    const std::size_t note_at = append(content, note);

    const std::string text =
        "\0both\0only_global\0absent\0thread_local\0.strings\0.symbols\0.PyRuntime\0.bss\0"s;
    const auto name = [&](const char* wanted) {
        return static_cast<Elf64_Word>(text.find(std::string(1, '\0') + wanted + '\0') + 1);
    };
    file.strings = append_text(content, text);
    file.strings_size = text.size();

    const unsigned char local_object = ELF64_ST_INFO(STB_LOCAL, STT_OBJECT);
    const unsigned char global_object = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT);
    file.symbols = append(content, Elf64_Sym{});
    append(content, make_symbol(name("both"), local_object, 4, 0x100));
    append(content, make_symbol(name("absent"), global_object, SHN_UNDEF, 0x200));
    append(content, make_symbol(name("thread_local"), ELF64_ST_INFO(STB_GLOBAL, STT_TLS), 4, 0x8));
    append(content, make_symbol(name("both"), global_object, 4, 0x300));
    append(content,
           make_symbol(name("only_global"), ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 4, 0x400));
    const std::size_t symbols_size = content.size() - file.symbols;

    // One bucket and one bloom word; the chain runs from symbol 3 to the last.
    struct {
        std::uint32_t header[4] = {1, 3, 1, 0};
        std::uint64_t bloom = ~0ull;
        std::uint32_t bucket = 3;
        std::uint32_t chain[3] = {2, 4, 5};
    } gnu;
    const std::uint32_t sysv[2] = {0, 6};
    const std::size_t hash = gnu_hash ? append(content, gnu) : append(content, sysv);

    file.dynamic = append(content, Elf64_Dyn{DT_SYMTAB, {kBase + file.symbols}});
    append(content, Elf64_Dyn{DT_STRTAB, {kBase + file.strings}});
    append(content, Elf64_Dyn{DT_STRSZ, {text.size()}});
    append(content, Elf64_Dyn{gnu_hash ? DT_GNU_HASH : DT_HASH, {kBase + hash}});
    append(content, Elf64_Dyn{DT_NULL, {0}});
    const std::size_t dynamic_size = content.size() - file.dynamic;

    const auto section = [&](const char* wanted, Elf64_Word type, Elf64_Addr address,
                             std::size_t offset, std::size_t size, Elf64_Word link,
                             std::size_t entry_size) {
        return append(content, Elf64_Shdr{name(wanted), type, 0, address, offset, size, link, 0, 8,
                                          entry_size});
    };
    header.e_shoff = file.sections = append(content, Elf64_Shdr{});
    section(".strings", SHT_STRTAB, 0, file.strings, text.size(), 0, 0);
    section(".symbols", SHT_SYMTAB, 0, file.symbols, symbols_size, 1, sizeof(Elf64_Sym));
    section(".symbols", SHT_DYNSYM, 0, file.symbols, symbols_size, 1, sizeof(Elf64_Sym));
    section(".PyRuntime", SHT_PROGBITS, kBase + note_at, note_at, sizeof note, 0, 0);
    section(".bss", SHT_NOBITS, kBase + 0x4000, 0x4000, 0x100000, 0, 0);

    const std::size_t size = content.size();
    const Elf64_Phdr segments[3] = {
        {PT_LOAD, PF_R | PF_X, 0, kBase, kBase, size, size + 64, 4096},
        {PT_DYNAMIC, PF_R, file.dynamic, kBase + file.dynamic, 0, dynamic_size, dynamic_size, 8},
        {PT_NOTE, PF_R, note_at, kBase + note_at, 0, sizeof note, sizeof note, 4}};
    std::memcpy(content.data(), &header, sizeof header);
    std::memcpy(content.data() + header.e_phoff, segments, sizeof segments);
    return file;
}

/// Changes one field of the file's header.
template <class T>
Content with_header_field(Content content, T Elf64_Ehdr::* field, T value) {
    Elf64_Ehdr header;
    std::memcpy(&header, content.data(), sizeof header);
    header.*field = value;
    std::memcpy(content.data(), &header, sizeof header);
    return content;
}

/// Asks everything that can be asked; the answers do not matter, only that there are some.
void exercise(const std::string& path) {
    const auto image = ElfImage::open(path);
    if (!image) {
        CHECK(!image.error().message().empty());
        return;
    }
    const std::string_view names[] = {"both", "only_global", "absent", "_PyRuntime", "main"};
    for (const auto& symbol : (*image)->symbols(names)) {
        if (symbol) (void)(*image)->bytes_from(symbol->address);
    }
    unsigned sum = 0;
    for (const char* name : {".PyRuntime", ".bss", ".symbols", ".text", ""}) {
        if (const auto section = (*image)->section(name)) {
            const auto bytes = (*image)->section_bytes(*section);
            if (!bytes.empty()) sum += std::to_integer<unsigned>(bytes.front() ^ bytes.back());
        }
    }
    for (const auto& segment : (*image)->load_segments()) {
        const auto bytes = (*image)->bytes_from(segment.address);
        if (!bytes.empty()) sum += std::to_integer<unsigned>(bytes.front() ^ bytes.back());
    }
    CHECK((*image)->build_id().size() <= 128);
    (void)sum;
}

Content read_own_executable() {
    std::ifstream stream("/proc/self/exe", std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

std::uint64_t own_bias() {
    std::uint64_t bias = 0;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* result) {
            *static_cast<std::uint64_t*>(result) = info->dlpi_addr;
            return 1;  // The first one is the executable.
        },
        &bias);
    return bias;
}

std::uint64_t address_of(const void* object) {
    return reinterpret_cast<std::uint64_t>(object);
}

}  // namespace

TEST_CASE("ElfImage finds this program's own symbols where they are") {
    const auto image = ElfImage::open("/proc/self/exe");
    REQUIRE(image);
    const std::string_view names[] = {"pystack_elf_test_object",   "no such symbol",
                                      "pystack_elf_test_function", "pystack_elf_test_thread_local",
                                      "pystack_elf_test_object",   ""};
    const auto symbols = (*image)->symbols(names);
    REQUIRE(symbols.size() == 6);
    REQUIRE(symbols[0]);
    CHECK(symbols[0]->name == "pystack_elf_test_object");
    CHECK(symbols[0]->address + own_bias() == address_of(pystack_elf_test_object));
    CHECK(symbols[0]->size == sizeof pystack_elf_test_object);
    CHECK(!symbols[0]->is_function);
    CHECK(!symbols[1]);
    REQUIRE(symbols[2]);
    CHECK(symbols[2]->address + own_bias() ==
          reinterpret_cast<std::uint64_t>(&pystack_elf_test_function));
    CHECK(symbols[2]->is_function);
    CHECK(!symbols[3]);  // Its value is an offset into the thread's block, not an address.
    REQUIRE(symbols[4]);
    CHECK(!symbols[5]);

    const auto loaded = (*image)->bytes_from(symbols[0]->address);
    REQUIRE(loaded.size() >= sizeof(int));
    CHECK(std::memcmp(loaded.data(), pystack_elf_test_object, sizeof(int)) == 0);
    const auto text = (*image)->section(".text");
    REQUIRE(text);
    CHECK(text->address <= symbols[2]->address);
    CHECK(symbols[2]->address < text->address + text->size);
    const auto bss = (*image)->section(".bss");
    REQUIRE(bss);
    CHECK(!bss->has_bytes);
    CHECK((*image)->section_bytes(*bss).empty());
}

TEST_CASE("ElfImage agrees with the dynamic linker about the C library") {
    dl_phdr_info libc{};
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* result) {
            if (std::strstr(info->dlpi_name, "/libc.so") == nullptr) return 0;
            *static_cast<dl_phdr_info*>(result) = *info;
            return 1;
        },
        &libc);
    if (libc.dlpi_name == nullptr) return;  // A static build.
    const auto image = ElfImage::open(libc.dlpi_name);
    REQUIRE(image);
    const auto symbol = (*image)->symbol("environ");
    REQUIRE(symbol);
    CHECK(symbol->size == sizeof(char*));
    const auto function = (*image)->symbol("getppid");
    REQUIRE(function);
    CHECK(function->is_function);
    CHECK(function->address + libc.dlpi_addr == reinterpret_cast<std::uint64_t>(&getppid));
}

TEST_CASE("ElfImage reads the small file with and without section headers") {
    for (const bool gnu_hash : {true, false}) {
        const SmallElf small = make_small_elf(gnu_hash);
        for (const bool stripped : {false, true}) {
            CAPTURE(gnu_hash);
            CAPTURE(stripped);
            const MemoryFile file(
                stripped ? with_header_field(small.content, &Elf64_Ehdr::e_shoff, Elf64_Off{0})
                         : small.content);
            const auto image = ElfImage::open(file.path());
            REQUIRE(image);
            CHECK((*image)->build_id() == "deadbe0f");
            CHECK((*image)->bytes().size() == small.content.size());
            REQUIRE((*image)->load_segments().size() == 1);
            CHECK((*image)->load_segments()[0].address == kBase);
            CHECK((*image)->load_segments()[0].executable);
            CHECK(!(*image)->load_segments()[0].writable);
            CHECK((*image)->load_segments()[0].memory_size == small.content.size() + 64);
            REQUIRE((*image)->symbol("both"));
            CHECK((*image)->symbol("both")->address == 0x300);  // The global one.
            REQUIRE((*image)->symbol("only_global"));           // The last of the table.
            CHECK((*image)->symbol("only_global")->is_function);
            CHECK(!(*image)->symbol("absent"));
            CHECK(!(*image)->symbol("thread_local"));
            CHECK((*image)->bytes_from(kBase + small.content.size()).empty());
            CHECK((*image)->bytes_from(kBase - 1).empty());
            CHECK((*image)->section(".PyRuntime").has_value() == !stripped);
            if (!stripped) {
                const auto section = *(*image)->section(".PyRuntime");
                CHECK((*image)->section_bytes(section).size() == section.size);
                CHECK(section.address == kBase + section.offset.value);
            }
        }
    }
}

TEST_CASE("ElfImage takes section counts from section 0 when the header says so") {
    SmallElf small = make_small_elf(true);
    Elf64_Shdr first{};
    first.sh_size = 6;
    first.sh_link = 1;
    std::memcpy(small.content.data() + small.sections, &first, sizeof first);
    Content content = with_header_field(small.content, &Elf64_Ehdr::e_shnum, Elf64_Half{0});
    content = with_header_field(content, &Elf64_Ehdr::e_shstrndx, Elf64_Half{SHN_XINDEX});
    const MemoryFile file(content);
    const auto image = ElfImage::open(file.path());
    REQUIRE(image);
    CHECK((*image)->section(".PyRuntime"));
}

TEST_CASE("ElfImage treats strings without an end as no strings") {
    SmallElf small = make_small_elf(true);
    // The table ends where the name of a section would.
    Elf64_Shdr strings;
    const std::size_t at = small.sections + sizeof strings;
    std::memcpy(&strings, small.content.data() + at, sizeof strings);
    strings.sh_size = small.strings_size - 1;
    std::memcpy(small.content.data() + at, &strings, sizeof strings);
    const MemoryFile file(small.content);
    const auto image = ElfImage::open(file.path());
    REQUIRE(image);
    CHECK((*image)->section(".PyRuntime"));
    CHECK(!(*image)->section(".bss"));
}

TEST_CASE("ElfImage says why a file is none of ours") {
    const Content good = make_small_elf(true).content;
    const auto error_of = [](const Content& content) {
        const MemoryFile file(content);
        const auto image = ElfImage::open(file.path());
        REQUIRE(!image);
        return image.error();
    };
    CHECK(error_of({}).code == ErrorCode::kCorruptData);
    CHECK(error_of(Content(4096, 'x')).code == ErrorCode::kCorruptData);
    CHECK(error_of(Content(good.begin(), good.begin() + 40)).what == std::string("ELF header"));
    CHECK(error_of(Content(good.begin(), good.begin() + 100)).what ==
          std::string("ELF program headers"));
    Content changed = good;
    changed[EI_CLASS] = ELFCLASS32;
    CHECK(error_of(changed).code == ErrorCode::kUnsupportedTarget);
    changed.resize(sizeof(Elf32_Ehdr));
    CHECK(error_of(changed).detail.ends_with("a 32-bit ELF file"));
    changed = good;
    changed[EI_DATA] = ELFDATA2MSB;
    CHECK(error_of(changed).code == ErrorCode::kUnsupportedTarget);
    CHECK(error_of(with_header_field(good, &Elf64_Ehdr::e_machine, Elf64_Half{EM_S390})).code ==
          ErrorCode::kUnsupportedTarget);
    CHECK(error_of(with_header_field(good, &Elf64_Ehdr::e_phnum, Elf64_Half{60000})).code ==
          ErrorCode::kCorruptData);
    CHECK(error_of(with_header_field(good, &Elf64_Ehdr::e_phoff, ~Elf64_Off{0})).code ==
          ErrorCode::kCorruptData);
}

TEST_CASE("ElfImage does not open what is not a regular file, and does not wait") {
    char directory[] = "/tmp/pystack_elf_test_XXXXXX";
    REQUIRE(mkdtemp(directory) != nullptr);
    const std::string fifo = std::string(directory) + "/fifo";
    REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
    const std::string paths[] = {fifo, directory, "/dev/zero", fifo + "/none", ""};
    for (const std::string& path : paths) {
        CAPTURE(path);
        const auto image = ElfImage::open(path);
        REQUIRE(!image);
        CHECK(image.error().code == ErrorCode::kMissingBinary);
        CHECK(image.error().detail.starts_with(path));
    }
    unlink(fifo.c_str());
    rmdir(directory);
}

TEST_CASE("ElfImage survives a file that is cut at any length") {
    for (const bool gnu_hash : {true, false}) {
        const Content content = make_small_elf(gnu_hash).content;
        MemoryFile file(content);
        for (std::size_t size = content.size(); size-- > 0;) {
            file.truncate(size);
            exercise(file.path());
        }
    }
    Content own = read_own_executable();
    own.resize(std::min<std::size_t>(own.size(), 65536));
    MemoryFile file(own);
    for (std::size_t size = own.size(); size > 61; size -= 61) {
        file.truncate(size);
        exercise(file.path());
    }
}

TEST_CASE("ElfImage survives random changes") {
    std::mt19937 random(20260101);  // Fixed, so that a failure can be repeated.
    const auto below = [&](std::size_t limit) { return random() % limit; };
    for (const bool gnu_hash : {true, false}) {
        const SmallElf small = make_small_elf(gnu_hash);
        const Content without_sections =
            with_header_field(small.content, &Elf64_Ehdr::e_shoff, Elf64_Off{0});
        for (const Content& content : {small.content, without_sections}) {
            MemoryFile file(content);
            for (int i = 0; i < 5000; ++i) {
                Content changed = content;
                for (std::size_t flips = 1 + below(3); flips > 0; --flips) {
                    // Beyond e_ident: a file with another one is refused at once.
                    auto& byte = changed[EI_NIDENT + below(changed.size() - EI_NIDENT)];
                    const unsigned char values[] = {0, 0xff, 0x7f, 0x80,
                                                    static_cast<unsigned char>(random())};
                    byte = values[below(std::size(values))];
                }
                file.write(changed.data(), changed.size(), 0);
                exercise(file.path());
            }
        }
    }
}
