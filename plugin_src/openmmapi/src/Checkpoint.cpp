#include "Checkpoint.h"
#include "BiasedOverdampedLangevinIntegrator.h"
#include "openmm/OpenMMException.h"
#include <istream>
#include <ostream>
#include <string>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

void Checksum::add(const void* bytes, size_t size) {
    const unsigned char* byte = static_cast<const unsigned char*>(bytes);
    for (size_t i = 0; i < size; i++)
        value = (value^byte[i])*0x100000001b3ULL;
}

void OpenMMRare::refuseCheckpoint(const char* reason) {
    throw OpenMMException(string("loadCheckpoint: the checkpoint ")+reason);
}

CheckpointWriter::CheckpointWriter(ostream& stream, int numWalkers, int numRegions) : stream(stream) {
    write(vector<int>{numWalkers, numRegions});
}

void CheckpointWriter::writeBytes(const void* bytes, size_t size) {
    stream.write(static_cast<const char*>(bytes), size);
    checksum.add(bytes, size);
}

void CheckpointWriter::finish() {
    const uint64_t value = checksum.getValue();
    stream.write(reinterpret_cast<const char*>(&value), sizeof(value));
}

CheckpointReader::CheckpointReader(istream& stream, int numWalkers, int numRegions) : stream(stream), numRegions(numRegions) {
    if (read<int>(2) != vector<int>{numWalkers, numRegions})
        refuseCheckpoint("is cut off, damaged, or of an integrator with other walkers or regions");
}

void CheckpointReader::readBytes(void* bytes, size_t size) {
    stream.read(static_cast<char*>(bytes), size);
    checksum.add(bytes, size);
}

void CheckpointReader::finish() {
    const uint64_t expected = checksum.getValue();
    uint64_t value = 0;
    stream.read(reinterpret_cast<char*>(&value), sizeof(value));
    if (!stream)
        refuseCheckpoint("is cut off, or of another version of openmm_rare");
    if (value != expected)
        refuseCheckpoint("is damaged: its checksum is another one");
}

void CheckpointReader::checkWalkers(const vector<int>& states, const vector<int>& steps, const vector<int>& labels) const {
    for (size_t walker = 0; walker < states.size(); walker++) {
        if (states[walker] < BiasedOverdampedLangevinIntegrator::Idle || states[walker] > numRegions)
            refuseCheckpoint("holds a state that there is not");
        if (steps[walker] < 0 || labels[walker] < 0)
            refuseCheckpoint("holds negative steps or labels");
    }
}
