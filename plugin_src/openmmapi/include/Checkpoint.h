#ifndef OPENMM_RARE_CHECKPOINT_H_
#define OPENMM_RARE_CHECKPOINT_H_

#include "RareExport.h"
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <type_traits>
#include <vector>

namespace OpenMMRare {

/** A checksum of bytes (FNV-1a of 64 bits): no change of a single byte keeps it, and zeros count. */
class OPENMM_EXPORT_RARE Checksum {
public:
    void add(const void* bytes, size_t size);
    uint64_t getValue() const { return value; }
private:
    uint64_t value = 0xcbf29ce484222325ULL;
};

/** Writes what an integrator adds to a checkpoint: for how many walkers and regions, blocks of plain memory, their checksum. */
class OPENMM_EXPORT_RARE CheckpointWriter {
public:
    CheckpointWriter(std::ostream& stream, int numWalkers, int numRegions);
    template <class T>
    void write(const std::vector<T>& values) {
        static_assert(std::is_trivially_copyable<T>::value, "a checkpoint holds bytes");
        writeBytes(values.data(), values.size()*sizeof(T));
    }
    /** Make what is written elsewhere in the checkpoint part of the checksum. */
    void cover(const void* bytes, size_t size) { checksum.add(bytes, size); }
    void finish();
private:
    void writeBytes(const void* bytes, size_t size);
    std::ostream& stream;
    Checksum checksum;
};

/** Reads that again, in the same order.  Nothing of it may be used before finish() has returned. */
class OPENMM_EXPORT_RARE CheckpointReader {
public:
    CheckpointReader(std::istream& stream, int numWalkers, int numRegions);
    template <class T>
    std::vector<T> read(size_t count) {
        static_assert(std::is_trivially_copyable<T>::value, "a checkpoint holds bytes");
        std::vector<T> values(count);
        readBytes(values.data(), count*sizeof(T));
        return values;
    }
    void cover(const void* bytes, size_t size) { checksum.add(bytes, size); }
    /** Throw if the checkpoint is cut off, or one of its bytes is not what was written. */
    void finish();
    /** Throw if there are no such states, steps or labels, which a checksum made by hand would let through. */
    void checkWalkers(const std::vector<int>& states, const std::vector<int>& steps, const std::vector<int>& labels) const;
private:
    void readBytes(void* bytes, size_t size);
    std::istream& stream;
    const int numRegions;
    Checksum checksum;
};

/** Throw that a checkpoint is of no use, for a reason. */
[[noreturn]] OPENMM_EXPORT_RARE void refuseCheckpoint(const char* reason);

} // namespace OpenMMRare

#endif /*OPENMM_RARE_CHECKPOINT_H_*/
