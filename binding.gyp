{
  'targets': [
    {
      'target_name': 'overns',
      'conditions': [
        ['OS=="linux"', {
          # The lists are shared with CMakeLists.txt.
          'sources': ['<!@(node scripts/lib/sources.mjs)'],
          'include_dirs': ['native'],
          'defines': [
            'NAPI_VERSION=8',
            'NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS',
            # Without it worker.terminate() while the addon loads aborts the process.
            'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
          ],
          # GCC takes a source that is included for a header: -Wno-subobject-linkage.
          'cflags': ['-Wall', '-Wextra', '-Wshadow', '-Wno-subobject-linkage', '-fvisibility=hidden'],
          'cflags!': ['-Wno-unused-parameter'],
          'cflags_cc!': ['-std=gnu++17', '-fexceptions'],
          'cflags_cc': [
            '-std=gnu++20',
            '-fno-exceptions',
            '-fvisibility-inlines-hidden',
            # Not in include_dirs: its headers would drown our warnings in theirs.
            '-isystem', '<!(node -p "path.dirname(require.resolve(\'node-addon-api\'))")',
          ],
          # A C++ runtime of its own: the machine that runs a prebuild may have an older one. Its symbols stay inside.
          'ldflags': ['-static-libstdc++', '-static-libgcc', '-Wl,--exclude-libs,ALL', '-Wl,-z,relro,-z,now'],
        }, {
          'type': 'none',
        }],
      ],
    },
  ],
}
