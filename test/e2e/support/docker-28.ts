// Runs before each suite of the jest project `e2e-28`: its hosts have Docker 28.
process.env['DAOLINET_TEST_DOCKER'] = '28';
