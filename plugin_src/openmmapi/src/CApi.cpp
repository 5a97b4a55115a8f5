// A C interface, so that Python reaches the plugin through ctypes: nothing here depends on the version of Python, on NumPy or
// on SWIG.  Objects are made by OpenMM's XmlSerializer, from the proxies registered here.
#include "CApi.h"
#include "BiasedOverdampedLangevinIntegrator.h"
#include "BiasedOverdampedLangevinIntegratorProxy.h"
#include "CommittorForce.h"
#include "CommittorForceProxy.h"

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

thread_local string OpenMMRare::rareLastError;

static BiasedOverdampedLangevinIntegrator& integrator(void* pointer) {
    auto* result = dynamic_cast<BiasedOverdampedLangevinIntegrator*>(static_cast<Integrator*>(pointer));
    if (result == nullptr)
        throw OpenMMException("this is no BiasedOverdampedLangevinIntegrator");
    return *result;
}

RARE_API int rare_register_proxies() {
    return rareGuard([] {
        SerializationProxy::registerProxy(typeid(BiasedOverdampedLangevinIntegrator), new BiasedOverdampedLangevinIntegratorProxy());
        SerializationProxy::registerProxy(typeid(CommittorForce), new CommittorForceProxy());
    });
}

RARE_API const char* rare_error() {
    return rareLastError.c_str();
}

RARE_API const char* rare_built_for() {
    return RARE_OPENMM_VERSION;
}

RARE_API int rare_integrator_set_seed(void* pointer, int seed) {
    return rareGuard([=] { integrator(pointer).setRandomNumberSeed(seed); });
}

RARE_API int rare_integrator_get_log_weights(void* pointer, double* out, int length) {
    return rareGuard([=] {
        vector<double> values;
        integrator(pointer).getLogWeights(values);
        rareCopy(values, out, length);
    });
}

RARE_API int rare_integrator_set_log_weights(void* pointer, const double* values, int length) {
    return rareGuard([=] { integrator(pointer).setLogWeights(vector<double>(values, values+length)); });
}

RARE_API int rare_integrator_get_states(void* pointer, int* out, int length) {
    return rareGuard([=] {
        vector<int> values;
        integrator(pointer).getWalkerStates(values);
        rareCopy(values, out, length);
    });
}

RARE_API int rare_integrator_set_states(void* pointer, const int* values, int length) {
    return rareGuard([=] { integrator(pointer).setWalkerStates(vector<int>(values, values+length)); });
}

RARE_API int rare_integrator_hold(void* pointer, const int* walkers, int length) {
    return rareGuard([=] { integrator(pointer).holdWalkers(vector<int>(walkers, walkers+length)); });
}

RARE_API int rare_integrator_get_steps(void* pointer, int* out, int length) {
    return rareGuard([=] {
        vector<int> values;
        integrator(pointer).getWalkerSteps(values);
        rareCopy(values, out, length);
    });
}

RARE_API int rare_integrator_get_labels(void* pointer, int* out, int length) {
    return rareGuard([=] {
        vector<int> values;
        integrator(pointer).getWalkerLabels(values);
        rareCopy(values, out, length);
    });
}

RARE_API int rare_integrator_set_labels(void* pointer, const int* values, int length) {
    return rareGuard([=] { integrator(pointer).setWalkerLabels(vector<int>(values, values+length)); });
}

RARE_API int rare_integrator_resample(void* pointer, const int* parents, int length) {
    return rareGuard([=] { integrator(pointer).resampleWalkers(vector<int>(parents, parents+length)); });
}
