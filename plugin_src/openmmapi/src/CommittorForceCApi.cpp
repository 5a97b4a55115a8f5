// The part of the C interface (see CApi.cpp) that belongs to CommittorForce.
#include "CApi.h"
#include "CommittorForce.h"

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

static CommittorForce& committor(void* pointer) {
    auto* result = dynamic_cast<CommittorForce*>(static_cast<Force*>(pointer));
    if (result == nullptr)
        throw OpenMMException("this is no CommittorForce");
    return *result;
}

/** Give a force and a Context other parameters.  If the Context does not take them, the force keeps its own. */
RARE_API int rare_committor_update(void* pointer, void* context, const double* parameters, int length) {
    return rareGuard([=] {
        CommittorForce& force = committor(pointer);
        const vector<double> old = force.getParameters();
        force.setNetwork(force.getWidths(), vector<double>(parameters, parameters+length));
        try {
            force.updateParametersInContext(*static_cast<Context*>(context));
        }
        catch (...) {
            force.setNetwork(force.getWidths(), old);
            throw;
        }
    });
}
