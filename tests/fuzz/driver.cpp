// The entry points of every fuzzer. Without libFuzzer:
//
//     fuzz_NAME SECONDS [FILE...]    run the seeds and the files, then random changes of them
//     fuzz_NAME --seeds FOLDER       write the seeds there (with libFuzzer, too)
//
// An input that ends the program is left in the working directory as fuzz_NAME.input.

#include "driver.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace {

using pystack::fuzz::Bytes;

void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
}

/// Whether that was what the arguments ask for.
bool write_seeds(std::span<char* const> arguments) {
    if (arguments.size() != 3 || std::string_view(arguments[1]) != "--seeds") return false;
    const std::filesystem::path folder = arguments[2];
    std::filesystem::create_directories(folder);
    std::size_t number = 0;
    for (const Bytes& seed : pystack::fuzz::seeds()) {
        write_file(folder / ("made-" + std::to_string(number++)), seed);
    }
    return true;
}

}  // namespace

#if defined(PYSTACK_LIBFUZZER)

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    if (write_seeds({*argv, static_cast<std::size_t>(*argc)})) std::exit(0);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    pystack::fuzz::run(std::as_bytes(std::span(data, size)));
    return 0;
}

#else

#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <iterator>
#include <random>

/// Its own way out would not call the callback below.
extern "C" const char* __ubsan_default_options() {
    return "abort_on_error=1";
}

namespace {

/// More of a processor than any input may take, with sanitizers.
constexpr time_t kSlowest = 20;

/// What is running: for the callbacks below, which know nothing else.
std::span<const std::byte> current;
std::string program_name;

void save_current() {
    const std::string path = program_name + ".input";
    write_file(path, current);
    std::fprintf(stderr, "%s: the input is in %s\n", program_name.c_str(), path.c_str());
}

void on_signal(int signal) {
    if (signal == SIGPROF) std::fprintf(stderr, "no end after %d s\n", static_cast<int>(kSlowest));
    save_current();
    ::_exit(1);
}

/// Of the processor: on a busy machine the clock on the wall says nothing. 0: no limit.
void limit_time(time_t seconds) {
    const itimerval limit{.it_interval = {}, .it_value = {.tv_sec = seconds, .tv_usec = 0}};
    ::setitimer(ITIMER_PROF, &limit, nullptr);
}

void run(const Bytes& bytes) {
    // A copy of exactly its size: the sanitizer then sees a read past its end.
    const Bytes exact(bytes.begin(), bytes.end());
    current = exact;
    limit_time(kSlowest);
    pystack::fuzz::run(exact);
    limit_time(0);
}

/// Changes that reach past the checks of single values: edges of the integers, at the places of
/// headers; pieces that are missing, twice there, or from another input.
class Mutator {
  public:
    explicit Mutator(std::span<const Bytes> corpus) : corpus_(corpus) {}

    Bytes next() {
        Bytes bytes = pick();
        if (below(8) == 0) bytes.resize(below(bytes.size() + 1));
        for (std::size_t changes = 1 + below(6); changes > 0 && !bytes.empty(); --changes) {
            change(bytes);
        }
        return bytes;
    }

  private:
    std::size_t below(std::size_t bound) { return bound == 0 ? 0 : random_() % bound; }
    const Bytes& pick() { return corpus_[below(corpus_.size())]; }

    void change(Bytes& bytes) {
        // Most of the structure is at the beginning.
        const std::size_t limit =
            below(4) == 0 ? bytes.size() : std::min<std::size_t>(bytes.size(), 4096);
        const std::size_t at = below(limit);
        switch (below(7)) {
            case 0:
                bytes[at] = static_cast<std::byte>(random_());
                break;
            case 1:
                bytes[at] ^= static_cast<std::byte>(1u << below(8));
                break;
            case 2:
                put_edge(bytes, at, 4);
                break;
            case 3:
                put_edge(bytes, at & ~std::size_t{7}, 8);
                break;
            case 4: {
                const Bytes& other = pick();
                const std::size_t from = below(other.size());
                insert(bytes, at, std::span(other).subspan(from));
                break;
            }
            case 5: {
                const Bytes copy = bytes;
                insert(bytes, at, std::span(copy).subspan(below(copy.size())));
                break;
            }
            default: {
                const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
                const std::size_t size = below(std::min<std::size_t>(bytes.size() - at, 64));
                bytes.erase(begin, begin + static_cast<std::ptrdiff_t>(size));
                break;
            }
        }
    }

    void insert(Bytes& bytes, std::size_t at, std::span<const std::byte> piece) {
        piece = piece.first(std::min<std::size_t>(piece.size(), 1 + below(64)));
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), piece.begin(), piece.end());
    }

    void put_edge(Bytes& bytes, std::size_t at, std::size_t size) {
        static constexpr std::uint64_t kEdges[] = {0,
                                                   1,
                                                   4,
                                                   0x7fff,
                                                   0xffff,
                                                   0x10000,
                                                   0x7fffffff,
                                                   0xffffffff,
                                                   std::uint64_t{1} << 32,
                                                   std::uint64_t{1} << 47,
                                                   ~std::uint64_t{0},
                                                   ~std::uint64_t{0} - 4095,
                                                   std::uint64_t{1} << 63};
        const std::uint64_t edge = kEdges[below(std::size(kEdges))];
        if (bytes.size() - at >= size) std::memcpy(&bytes[at], &edge, size);
    }

    std::span<const Bytes> corpus_;
    std::mt19937_64 random_{1};
};

double since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
    if (write_seeds({argv, static_cast<std::size_t>(argc)})) return 0;
    program_name = std::filesystem::path(argv[0]).filename();
    __sanitizer_set_death_callback(save_current);
    ::signal(SIGPROF, on_signal);
    ::signal(SIGABRT, on_signal);

    const double seconds = argc > 1 ? std::atof(argv[1]) : 10;
    std::vector<Bytes> corpus = pystack::fuzz::seeds();
    for (int i = 2; i < argc; ++i) {
        std::ifstream stream(argv[i], std::ios::binary);
        const std::string text{std::istreambuf_iterator<char>(stream), {}};
        const auto bytes = pystack::fuzz::bytes_of(text);
        corpus.emplace_back(bytes.begin(), bytes.end());
    }
    corpus.emplace_back();
    for (const Bytes& bytes : corpus) run(bytes);

    Mutator mutator(corpus);
    std::size_t runs = 0;
    double slowest = 0;
    for (const auto begin = std::chrono::steady_clock::now(); since(begin) < seconds; ++runs) {
        const Bytes bytes = mutator.next();
        const auto start = std::chrono::steady_clock::now();
        run(bytes);
        slowest = std::max(slowest, since(start));
    }
    std::printf("%zu runs, the slowest %.3f s\n", runs, slowest);
    return 0;
}

#endif
